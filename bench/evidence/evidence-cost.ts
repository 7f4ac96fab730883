/** `npm run bench:evidence` prints what export and check of a session's evidence take. Options: --events, --others, --rounds. */
import { parseArgs } from 'node:util'
import { measureEvidence } from './evidence-benchmark.ts'

const { values: options } = parseArgs({
  options: {
    events: { type: 'string', default: '1000' },
    others: { type: 'string', default: '9000' },
    rounds: { type: 'string', default: '5' },
  },
})
const [events, others, rounds] = [Number(options.events), Number(options.others), Number(options.rounds)]
const figures = await measureEvidence({ events, others, rounds })
const ms = (value: number): string => `${Math.round(value)} ms`
process.stdout.write(
  `${events} events among ${others} others, a bundle of ${figures.bundleBytes} bytes; medians of ${rounds} rounds
export: ${ms(figures.exportMs)} in the process, ${ms(figures.exportCommandMs)} as a command
check:  ${ms(figures.checkMs)} in the process, ${ms(figures.checkCommandMs)} as a command
`,
)
