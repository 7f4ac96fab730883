/**
 * Simulations outside of the tests: `npm run test:sim -- --seeds 20000 --seed 1` runs seeds 1 to 20000 and prints the faults
 * that they had. A seed that fails is run again with its history, and printed with the command that replays it;
 * `--first-failure` ends there.
 */
import { parseArgs } from 'node:util'
import type { Fault } from './faults.ts'
import { describeFailure } from './replay.ts'
import { type Outcome, simulate } from './simulate.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    'first-failure': { type: 'boolean', default: false },
  },
})
const [count, first] = [wholeNumber('seeds'), wholeNumber('seed')]

function wholeNumber(name: 'seeds' | 'seed'): number {
  const number = Number(values[name])
  if (!Number.isSafeInteger(number) || number < 0) {
    throw new Error(`--${name}: expected a whole number, not ${values[name]}`)
  }
  return number
}

// Errors are expected here, and their stack traces are not read.
Error.stackTraceLimit = 0
const startedAt = performance.now()
const faults = new Map<Fault, number>()
let offsets = 0
const failed: Outcome[] = []
for (let seed = first; seed < first + count; seed++) {
  const outcome = await simulate(seed)
  for (const [fault, times] of outcome.faults) faults.set(fault, (faults.get(fault) ?? 0) + times)
  offsets += outcome.offsets
  if (outcome.violation !== undefined) {
    failed.push(outcome)
    process.stdout.write(await describeFailure(outcome))
    if (values['first-failure']) break
  }
}

const seconds = (performance.now() - startedAt) / 1000
for (const [fault, times] of [...faults].toSorted(([one], [other]) => one.localeCompare(other)))
  process.stdout.write(`${String(times).padStart(10)}  ${fault}\n`)
const struck = [...faults.values()].reduce((sum, times) => sum + times, 0)
process.stdout.write(
  `${count} seeds from ${first} in ${seconds.toFixed(0)} s: ${struck} faults of ${faults.size} kinds, ${offsets} offsets checked, ${failed.length} seeds failed\n`,
)
if (failed.length > 0) process.exitCode = 1
