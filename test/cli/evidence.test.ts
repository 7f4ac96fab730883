/** `agent-audit evidence` on a real ClickHouse, with records that a real consumer stored and seals of the run that made them. */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { parseTrust, signCheckpoint, signerFromPem } from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { countEvents, environmentOf, openEmbedded, openStore, runConsumer } from '../consumer/support.ts'
import { fixedLog } from '../seals/vectors/fixed-log.ts'
import { bundleOf, notarize, ORIGIN, recordSealedSessions, trustOf, storeSeals } from '../support/evidence.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { formatBundle } from '@agent-audit/seals/evidence'

const WAIT = { timeout: 60_000, interval: 50 }
const store = await openStore()

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { url, username, password } = store.dataDir.reader
  const env = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  let [out, err] = ['', '']
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
  return { code, out, err }
}

/** Runs as the admin, who can change any row, and waits for it. */
async function change(statement: string): Promise<void> {
  const answer = await store.send(statement, store.dataDir.admin, { mutations_sync: '2' })
  if (answer !== '') throw new Error(answer)
}

describe('agent-audit evidence', () => {
  it(
    'exports a session that the bundle proves, and finds a row that an administrator has changed',
    { timeout: 120_000 },
    async () => {
      const partitions = 3
      const topic = await openEmbedded(store, { partitions })
      const log = await recordSealedSessions(topic.environment['AUDIT_DATA_DIR'] ?? '')
      const consumer = runConsumer(environmentOf(store, topic))
      await expect.poll(() => countEvents(store, topic), WAIT).toBe(log.events.length)
      await consumer.stop()
      const directory = makeTempDirectory()
      const [file, trust, report] = ['short.evidence', 'trust.txt', 'report.html'].map((name) =>
        join(directory, name),
      ) as [string, string, string]
      writeFileSync(trust, trustOf(log))

      expect(await run('evidence', 'export', 'short', '-o', file, '--trust', trust)).toMatchObject({
        code: 2,
        out: expect.stringContaining('incomplete, run') as string,
      })
      await storeSeals(store, log)
      const unwritable = await run('evidence', 'export', 'short', '-o', join(trust, 'below'), '--trust', trust)
      expect(unwritable).toMatchObject({ code: 3, out: '', err: expect.stringMatching(/EEXIST|ENOTDIR/) as string })
      const exported = await run('evidence', 'export', 'short', '--force', '-o', file, '--trust', trust)
      expect(exported).toMatchObject({ code: 0, err: '' })
      expect(exported.out).toMatch(/^10 events exported to .*\nVERIFIED: /)
      expect(statSync(file).mode & 0o777).toBe(0o600)
      // Byte by byte what the messages of the topic and its seals give, without the table.
      const expected = bundleOf(log, 'short')
      expect(readFileSync(file).equals(formatBundle(expected))).toBe(true)

      const checked = await run('evidence', 'check', file, '--trust', trust, '--report', report, '--json')
      expect(checked).toMatchObject({ code: 0, err: '' })
      expect(JSON.parse(checked.out)).toMatchObject({
        verdict: 'verified',
        keys: 'given',
        events: 10,
        seals: 2,
        findings: [],
      })
      expect(readFileSync(report, 'utf8')).toBe(expected.report)
      expect(await run('evidence', 'check', file)).toMatchObject({
        code: 3,
        out: expect.stringContaining('the keys are those of the bundle itself') as string,
      })

      // A checkpoint that was kept outside, and that the table does not have: the bundle needs a proof to it.
      const outside = join(directory, 'checkpoint')
      const { tree } = notarize(log)
      const kept = { origin: ORIGIN, size: 2, root: tree.root(2) }
      writeFileSync(outside, signCheckpoint(signerFromPem(log.notary.pem), kept, Math.floor(Date.now() / 1000)))
      const given = ['--trust', trust, '--checkpoint', outside]
      expect(await run('evidence', 'check', file, ...given)).toMatchObject({
        code: 3,
        out: expect.stringContaining('export it again with this checkpoint') as string,
      })
      expect(await run('evidence', 'export', 'short', '--force', '-o', file, ...given)).toMatchObject({
        code: 0,
        err: '',
      })
      expect(await run('evidence', 'check', file, ...given)).toMatchObject({ code: 0, err: '' })

      expect(await run('evidence', 'export', 'open', '--force', '-o', file, '--trust', trust)).toMatchObject({
        code: 2,
        out: expect.stringContaining('it does not end the session') as string,
      })
      // A row of another session is a leaf beside.
      await change(
        `ALTER TABLE audit_events UPDATE reasoning = 'changed' WHERE session_id = 'long' AND session_seq = 5`,
      )
      const beside = await run('evidence', 'export', 'short', '--force', '-o', file, '--trust', trust)
      expect(beside).toMatchObject({
        code: 1,
        out: expect.stringContaining('records or leaves are not those that were sealed') as string,
      })
      await change(`ALTER TABLE audit_events DELETE WHERE session_id = 'long' AND session_seq = 5`)
      expect(await run('evidence', 'export', 'short', '--force', '-o', file, '--trust', trust)).toMatchObject({
        code: 1,
        err: expect.stringMatching(
          /seal \d+ of run [0-9a-f]{32} covers run_seq 0 to \d+, and the trail does not have \d+/,
        ) as string,
      })
    },
  )

  describe('wrong use', () => {
    const trust = 'audit-trust/v1\n'

    it('an export of nothing is an error, and no file', async () => {
      const directory = makeTempDirectory()
      const [file, given] = [join(directory, 'none'), join(directory, 'trust')]
      writeFileSync(given, trust)
      expect(await run('evidence', 'export', 'nothing', '-o', file, '--trust', given)).toEqual({
        code: 3,
        out: '',
        err: 'agent-audit: no session "nothing" in the trail: nothing is exported\n',
      })
      expect(() => readFileSync(file)).toThrow(/ENOENT/)
    })

    it('a missing file, option or key is named', async () => {
      const directory = makeTempDirectory()
      const missing = join(directory, 'missing')
      expect(await run('evidence', 'check', missing)).toMatchObject({
        code: 64,
        err: expect.stringContaining('cannot be read (ENOENT)') as string,
      })
      expect(await run('evidence', 'check', directory)).toMatchObject({
        code: 64,
        err: expect.stringContaining('EISDIR') as string,
      })
      expect(await run('evidence', 'export', 'S', '-o', missing)).toMatchObject({
        code: 64,
        err: expect.stringContaining('--trust <file>') as string,
      })
      expect(await run('evidence', 'check', missing, '--root', 'x')).toMatchObject({
        code: 64,
        err: expect.stringContaining('--root: verifier key') as string,
      })
    })

    it('a file that is there already is kept, and a name that cannot be one is refused before anything is read', async () => {
      const directory = makeTempDirectory()
      const [file, given] = [join(directory, 'there'), join(directory, 'trust')]
      writeFileSync(given, trust)
      writeFileSync(file, 'kept')
      const out = (name: string, ...more: string[]) =>
        run('evidence', 'export', 'S', '-o', name, '--trust', given, ...more)
      expect(await out(file)).toEqual({
        code: 64,
        out: '',
        err: `agent-audit: --out ${file}: the file exists: --force replaces it\n`,
      })
      expect(await out(directory, '--force')).toMatchObject({
        code: 64,
        err: expect.stringContaining('expected a file, found a directory') as string,
      })
      expect(await out('-')).toMatchObject({
        code: 64,
        err: expect.stringContaining('expected the name of a file') as string,
      })
      expect(await run('evidence', 'check', given, '--report', file)).toMatchObject({
        code: 64,
        err: expect.stringContaining('--report') as string,
      })
      // Nothing is exported: the file stays, although it might be replaced.
      expect(await out(file, '--force')).toMatchObject({ code: 3 })
      expect(readFileSync(file, 'utf8')).toBe('kept')
    })

    it('a missing key, schema or checkpoint is exit 3 with its name', async () => {
      const directory = makeTempDirectory()
      const log = fixedLog()
      const [file, given] = [join(directory, 'bundle'), join(directory, 'trust.txt')]
      const bundle = bundleOf(log, 'short')
      const check = async (part: Partial<typeof bundle>, text: string) => {
        writeFileSync(file, formatBundle({ ...bundle, ...part }))
        writeFileSync(given, text)
        return run('evidence', 'check', file, '--trust', given)
      }
      const notary = parseTrust(trustOf(log)).keys.filter(({ role }) => role === 'notary')
      expect(await check({}, trustOf(log, { keys: notary }))).toMatchObject({
        code: 3,
        out: expect.stringMatching(/has no producer key "agent-1" \(key id [0-9a-f]{8}\)/) as string,
      })
      const other = bundle.schemas.map((text) => text.replace('agent_id', 'agent_ix'))
      expect(await check({ schemas: other }, trustOf(log))).toMatchObject({
        code: 3,
        out: expect.stringMatching(/does not know the schema of SHA-256 [0-9a-f]{64}/) as string,
      })
      expect(await check({ log: [] }, trustOf(log))).toMatchObject({
        code: 3,
        out: expect.stringMatching(/run [0-9a-f]{32}, run_seq \d+ to \d+: no checkpoint that counts/) as string,
      })
    })

    it('a file that is no bundle, and one without a report of its records', async () => {
      const file = join(makeTempDirectory(), 'file')
      writeFileSync(file, 'no bundle')
      const found = await run('evidence', 'check', file, '--report', `${file}.html`)
      expect(found).toMatchObject({ code: 3, err: expect.stringContaining('no report is written') as string })
      expect(found.out).toContain('it is no evidence bundle of version 1')
      expect(() => readFileSync(`${file}.html`)).toThrow(/ENOENT/)
    })
  })
})
