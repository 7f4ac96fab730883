/** `npm run test:kill -- --rounds N --seed S`: runs N kill rounds; with `--sealed` of producers that seal their records. */
import { parseArgs } from 'node:util'
import { runKillRounds } from './rounds.ts'
import { runSealedKillRounds } from './sealed-rounds.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seed: { type: 'string' }, sealed: { type: 'boolean' } },
})
const rounds = Number(values.rounds ?? 300)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
if (!(Number.isInteger(rounds) && rounds > 0 && Number.isInteger(seed))) {
  process.stderr.write('test:kill: expected --rounds N (300) and --seed S, whole numbers\n')
  process.exit(2)
}

process.stdout.write(`${rounds} rounds, --seed ${seed}\n`)
const began = performance.now()
const onRound = (round: number): void => {
  if (round % 25 > 0) return
  process.stdout.write(`${round} rounds after ${((performance.now() - began) / 1000).toFixed(0)} s\n`)
}
process.exit(values.sealed === true ? await killSealed() : await kill())

async function kill(): Promise<number> {
  const report = await runKillRounds({ rounds, seed, onRound })
  process.stdout.write(`${JSON.stringify(report)}\n`)
  const lost = report.missing > 0 || report.repeated > 0 || report.verdict !== 'complete'
  process.stdout.write(
    lost ? 'FAILED: stored events are missing or repeated\n' : 'every event that was stored is in ClickHouse, once\n',
  )
  return lost ? 1 : 0
}

async function killSealed(): Promise<number> {
  const report = await runSealedKillRounds({ rounds, seed, onRound })
  process.stdout.write(`${JSON.stringify(report)}\n`)
  const { unsealed, sealedTwice, missing, open, faults } = report
  const wrong = unsealed + sealedTwice + missing + open + faults.length > 0
  process.stdout.write(wrong ? 'FAILED: see the counts\n' : 'every record in the topic is in exactly one seal\n')
  return wrong ? 1 : 0
}
