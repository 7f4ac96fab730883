/**
 * The long rounds of the proof of tampering, on real Kafka and ClickHouse:
 *
 *   npm run test:tamper                             1,000 random changes of a sealed trail: each is found, and named
 *   npm run test:tamper -- --changes N --seed S     as many, drawn by the seed
 *   npm run test:tamper -- --clean N --seed S       N runs with crashes and nothing changed: nothing is found
 *
 * They are the tests of test/analytics/integrity with more rounds. Exit code 1 if one failed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const FOLDER = 'test/analytics/integrity/'
const DEFAULT_CHANGES = 1000

const text = { type: 'string' } as const
const { values } = parseArgs({ options: { changes: text, clean: text, seed: text } })
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
const [changes, clean] = [values.changes, values.clean].map((value) => (value === undefined ? 0 : Number(value)))
if (!(isCount(changes) && isCount(clean) && Number.isSafeInteger(seed))) {
  process.stderr.write('test:tamper: expected --changes N, --clean N and --seed S, whole numbers\n')
  process.exit(2)
}
process.stdout.write(`--seed ${seed}\n`)
const rounds = changes + clean === 0 ? { changes: DEFAULT_CHANGES, clean: 0 } : { changes, clean }
const files = [
  ...(rounds.changes > 0 ? [`${FOLDER}tampering-changes.test.ts`] : []),
  ...(rounds.clean > 0 ? [`${FOLDER}tampering-clean.test.ts`] : []),
]
const options = ['--typecheck.enabled=false', '--maxWorkers=1', '-t', 'random changes|is verified']
const vitest = ['node_modules/vitest/vitest.mjs', 'run', ...options, ...files]
const env = {
  ...process.env,
  FAST_CHECK_SEED: String(seed),
  AUDIT_TAMPER_CHANGES: String(rounds.changes),
  AUDIT_TAMPER_CLEAN: String(rounds.clean),
}
const child = spawn(process.execPath, vitest, { cwd: ROOT, env, stdio: 'inherit' })
const [code] = (await once(child, 'exit')) as [number | null]
process.exit(code ?? 1)

function isCount(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0
}
