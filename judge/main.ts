/** `npm run judge` judges the detectors on data with known answers, and writes docs/detectors.md from what it found. */
import { parseArgs } from 'node:util'
import { judge } from './judge.ts'
import { PARTS } from './parts.ts'

const SEED = 20_261_129
const USAGE = `npm run judge -- [--only PART] [--seed N]
  --only  ${PARTS.map(({ name }) => name).join(', ') || '(there is no part yet)'}; may be given more than once (default: all)
  --seed  of what is generated (default ${SEED})
Data sets come from AUDIT_ATTACKS_DIR, AUDIT_SESSIONS_FILE and AUDIT_WHO_AND_WHEN_DIR; a part without its data keeps the section
that docs/detectors.md has of it.
Exit codes: 0 done, 1 a part failed, or a target is missed that the committed report had met, 2 wrong use
`

process.exitCode = await main()

async function main(): Promise<number> {
  const order = readOrder()
  if (typeof order === 'string') {
    process.stderr.write(`${order}\n${USAGE}`)
    return 2
  }
  return judge({ parts: PARTS, ...order, say: (text) => process.stdout.write(text) })
}

/** @returns A text that says what is wrong with the arguments. */
function readOrder(): { only: readonly string[]; seed: number } | string {
  try {
    const { values } = parseArgs({ options: { only: { type: 'string', multiple: true }, seed: { type: 'string' } } })
    const { only = [], seed = String(SEED) } = values
    const unknown = only.filter((name) => !PARTS.some((part) => part.name === name))
    if (unknown.length > 0) return `--only: there is no part ${unknown.join(', ')}`
    return /^\d{1,15}$/.test(seed) ? { only, seed: Number(seed) } : '--seed: expected a whole number'
  } catch (error) {
    return (error as Error).message
  }
}
