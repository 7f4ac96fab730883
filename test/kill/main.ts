/** `npm run test:kill -- --rounds N --seed S`: runs N kill rounds. */
import { parseArgs } from 'node:util'
import { runKillRounds } from './rounds.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string' }, seed: { type: 'string' } } })
const rounds = Number(values.rounds ?? 300)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
if (!(Number.isInteger(rounds) && rounds > 0 && Number.isInteger(seed))) {
  process.stderr.write('test:kill: expected --rounds N (300) and --seed S, whole numbers\n')
  process.exit(2)
}

process.stdout.write(`${rounds} rounds, --seed ${seed}\n`)
const began = performance.now()
const report = await runKillRounds({
  rounds,
  seed,
  onRound: (round) => {
    if (round % 25 === 0)
      process.stdout.write(`${round} rounds after ${((performance.now() - began) / 1000).toFixed(0)} s\n`)
  },
})
process.stdout.write(`${JSON.stringify(report)}\n`)
const lost = report.missing > 0 || report.repeated > 0 || report.verdict !== 'complete'
process.stdout.write(
  lost ? 'FAILED: stored events are missing or repeated\n' : 'every event that was stored is in ClickHouse, once\n',
)
process.exit(lost ? 1 : 0)
