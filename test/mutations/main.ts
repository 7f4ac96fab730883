/**
 * Mutation check: switches off each guard of the protocol, and of verify, in the source, and shows the test that then fails. Fails itself if
 * no test does, or if a mutation no longer applies. `npm run test:mutations -- --write` writes the table into the documents,
 * `-- --guard NAME` tries one guard.
 */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ALL_MUTATIONS, type Finder, type Mutation, MUTATIONS, mutate } from './mutations.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const DOCUMENT = `${ROOT}docs/exactly-once.md`
const [START, END] = ['<!-- mutations:start -->', '<!-- mutations:end -->']
/** Seeds tried before a mutation counts as not found. */
const SEEDS = 5000

interface Verdict {
  readonly mutation: Mutation
  /** The test that failed; undefined if none did. */
  readonly test: string | undefined
  readonly how: string
}

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false }, guard: { type: 'string' } } })
const chosen = ALL_MUTATIONS.filter(({ guard }) => values.guard === undefined || guard === values.guard)
const verdicts: Verdict[] = []
for (const mutation of chosen) {
  mutate(readFileSync(`${ROOT}${mutation.file}`, 'utf8'), mutation)
  const verdict = await tryOut(mutation)
  verdicts.push(verdict)
  process.stdout.write(`${verdict.test === undefined ? 'NOT FOUND' : 'found'}: ${mutation.guard}: ${verdict.how}\n`)
}
const table = makeTable(verdicts)
process.stdout.write(`\n${table}`)
// The document is about the guards of the consumer.
const ofConsumer = verdicts.filter(({ mutation }) => MUTATIONS.includes(mutation))
if (values.write && ofConsumer.length === MUTATIONS.length) writeTable(makeTable(ofConsumer))
const missed = verdicts.filter(({ test }) => test === undefined)
process.stdout.write(`${verdicts.length} guards switched off, ${verdicts.length - missed.length} found\n`)
if (missed.length > 0) process.exitCode = 1

async function tryOut(mutation: Mutation): Promise<Verdict> {
  const { code, output } = await run(commandOf(mutation.finder), mutation.guard)
  if (mutation.finder === 'simulation') {
    const [, seed, how] = /^seed (\d+) failed: (.*)$/m.exec(output) ?? []
    if (seed === undefined) return { mutation, test: undefined, how: code === 0 ? `${SEEDS} seeds pass` : output }
    return { mutation, test: `simulation, seed ${seed}`, how: (how ?? '').replaceAll(/[0-9a-f]{32}/g, '…') }
  }
  const failed = new RegExp(`FAIL .*${mutation.finder.test}.*`).exec(output) !== null
  const how = /^(?:AssertionError|Error): (.*)$/m.exec(output)?.[1] ?? ''
  if (code === 0 || !failed) return { mutation, test: undefined, how: code === 0 ? 'the test passes' : output }
  return { mutation, test: `${mutation.finder.file}, "${mutation.finder.test}"`, how }
}

function commandOf(finder: Finder): string[] {
  const condition = '--conditions=agent-audit-source'
  if (finder === 'simulation') {
    const simulation = ['test/simulation/main.ts', '--seeds', String(SEEDS), '--first-failure']
    return [condition, '--import', './test/mutations/hooks.ts', ...simulation]
  }
  return [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    'test/mutations/vitest.config.ts',
    '--root',
    '.',
    '--no-color',
    finder.file,
    '-t',
    finder.test,
  ]
}

function run(command: readonly string[], guard: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, AUDIT_MUTATION: guard, NO_COLOR: '1' }
    const child = spawn(process.execPath, command, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const collect = (chunk: Buffer): void => {
      output += chunk.toString()
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

function makeTable(rows: readonly Verdict[]): string {
  const lines = [
    ['Guard', 'Without it, the consumer …', 'Test that fails', 'How'],
    ['---', '---', '---', '---'],
    ...rows.map(({ mutation, test, how }) => [mutation.guard, mutation.without, test ?? 'none', how]),
  ]
  return lines.map((line) => `| ${line.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`).join('')
}

function writeTable(text: string): void {
  const document = readFileSync(DOCUMENT, 'utf8')
  const [start, end] = [document.indexOf(START), document.indexOf(END)]
  if (start < 0 || end < start) throw new Error(`${DOCUMENT} has no ${START} and ${END} to write between`)
  writeFileSync(DOCUMENT, `${document.slice(0, start + START.length)}\n\n${text}\n${document.slice(end)}`)
}
