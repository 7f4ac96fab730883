/**
 * Random inputs for everything that reads what a caller, a tool or a user gives.
 *
 *   npm run test:fuzz                              every target, 2 minutes together
 *   npm run test:fuzz -- --minutes N --seed S      as long, with these inputs
 *   npm run test:fuzz -- --only NAME               only the target of this name
 *   npm run test:fuzz -- --cases N                 so many inputs for each target, however long they take
 *
 * Exit code 1 if an input breaks a promise: it is printed, as small as possible, with the command that finds it again.
 * The last line is `N passed, N failed`, counted in targets.
 */
import { parseArgs } from 'node:util'
import { findTargets, type Limit, runTarget } from './run-target.ts'
import type { FuzzTarget } from './target.ts'

process.exitCode = await main()

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '2' },
      seed: { type: 'string' },
      only: { type: 'string' },
      cases: { type: 'string' },
    },
  })
  const { only } = values
  const minutes = Number(values.minutes)
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
  const targets = (await findTargets()).filter(({ name }) => only === undefined || name === only)
  const cases = values.cases === undefined ? undefined : Number(values.cases)
  if (!(minutes > 0) || (cases !== undefined && !(cases > 0)) || !Number.isSafeInteger(seed) || targets.length === 0) {
    say('expected --minutes and --cases as numbers, --seed as a whole number, --only as the name of a target')
    return 2
  }
  say(
    `seed ${seed}, ${cases === undefined ? `${minutes} minutes` : `${cases} cases`} for ${targets.map(({ name }) => name).join(', ')}`,
  )
  let failed = 0
  for (const target of targets) {
    const limit = cases === undefined ? { milliseconds: (minutes * 60_000) / targets.length } : { cases }
    if (!(await keepsItsPromise(target, seed, limit))) failed++
  }
  say(`${targets.length - failed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

async function keepsItsPromise(target: FuzzTarget, seed: number, limit: Limit): Promise<boolean> {
  const startedAt = performance.now()
  const { cases, failure } = await runTarget(target, seed, limit)
  const took = `seed ${seed}, ${cases} cases in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`
  if (failure === undefined) {
    say(`${target.name}: ${took}, passed`)
    return true
  }
  say(`${target.name}: ${took}, FAILED\n${failure}`)
  say(`again: npm run test:fuzz -- --cases ${cases} --seed ${seed} --only ${target.name}`)
  return false
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
