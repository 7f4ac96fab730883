/** An agent bundled by esbuild, as ESM and as CommonJS, runs in a folder that holds the bundle alone (ADR 0005). */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { kafkaAvailability } from '@agent-audit/stack'
import { build, type Format } from 'esbuild'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readRows } from '../producer/support.ts'
import { connectKafka, makeTopic, readWholeTopic } from '../support/kafka-topic.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const kafka = kafkaAvailability()

/** CommonJS has no await outside of functions. */
const AGENT = `
  import { createAuditTrail } from '@agent-audit/producer'
  let workers = 0
  process.on('worker', () => workers++)
  const problems = []
  const onProblem = ({ message }) => problems.push(message)
  const trail = createAuditTrail({ agentId: 'bundled', onProblem, ...JSON.parse(process.argv[2]) })
  const work = trail.withSession({}, (session) => session.decision({ reasoning: 'none' }).stored)
  work.then(() => trail.close()).then(({ acked }) => console.log(JSON.stringify({ acked, workers, problems })))`

/** What README.md says about kafkajs, which is CommonJS, in a bundle that is ESM. */
const REQUIRE = `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`
const FORMATS = [
  { format: 'esm', extension: '.mjs', banner: REQUIRE },
  { format: 'cjs', extension: '.cjs', banner: '' },
] as const
const ENTRIES = { agent: AGENT, 'agent-audit-delivery': `import '@agent-audit/producer/worker'` }

interface Bundle {
  readonly format: Format
  readonly extension: string
  readonly banner: string
  readonly entries: readonly (keyof typeof ENTRIES)[]
}

/** Bundles the entries into an empty folder, with all that they import. @returns the folder */
async function bundle({ format, extension, banner, entries }: Bundle): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'agent-audit-bundle-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const entry of entries) {
    await build({
      stdin: { contents: ENTRIES[entry], resolveDir: HERE, loader: 'ts' },
      outfile: join(folder, `${entry}${extension}`),
      bundle: true,
      platform: 'node',
      target: 'node22',
      format,
      banner: { js: banner },
      conditions: ['agent-audit-source'],
      logLevel: 'error',
      // `import.meta` is empty in CommonJS: the producer expects it.
      logOverride: { 'empty-import-meta': 'silent' },
    })
  }
  return folder
}

async function run(folder: string, options: object): Promise<unknown> {
  const agent = readdirSync(folder).find((name) => /^agent\.[cm]js$/.test(name)) ?? ''
  // Inline, kafkajs's polling is as it comes, which Node 24 warns of (kafka/README.md).
  const args = ['--disable-warning=TimeoutNegativeWarning', agent, JSON.stringify(options)]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: folder, env: {} })
  expect(stderr).toBe('')
  return JSON.parse(stdout)
}

describe.each(FORMATS)('a bundled agent ($format)', (form) => {
  it('delivers on its own thread where the bundle is alone', async () => {
    const folder = await bundle({ ...form, entries: ['agent'] })
    expect(await run(folder, { dataDir: 'data' })).toEqual({ acked: 5, workers: 0, problems: [] })
    const started = readRows(join(folder, 'data')).find((row) => row.event_type === 'trail_started')
    const manifest = readFileSync(new URL('../../producer/package.json', import.meta.url), 'utf8')
    const { version } = JSON.parse(manifest) as { version: string }
    expect(started?.['content']).toMatchObject({ versions: { producer: version } })
  })

  it('delivers in a worker thread where the bundle of the worker is beside it', async () => {
    const folder = await bundle({ ...form, entries: ['agent', 'agent-audit-delivery'] })
    expect(await run(folder, { dataDir: 'data' })).toEqual({ acked: 5, workers: 1, problems: [] })
    expect(readRows(join(folder, 'data'))).toHaveLength(5)
  })

  it.skipIf(!kafka.available).each([{ entries: ['agent'] }, { entries: ['agent', 'agent-audit-delivery'] }] as const)(
    'sends to Kafka with kafkajs in the bundle: $entries',
    async ({ entries }) => {
      const { brokers } = await sharedKafka()
      const client = connectKafka(brokers)
      const topic = await makeTopic(client, { numPartitions: 1 })
      const folder = await bundle({ ...form, entries })
      const workers = entries.length - 1
      expect(await run(folder, { brokers, topic, spoolDir: 'spool' })).toEqual({ acked: 5, workers, problems: [] })
      expect(await readWholeTopic(client, topic)).toHaveLength(5)
    },
  )
})
