/** `agent-audit spool status` and `spool drain`: what a run with a key has left unsealed or unsent. */
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { NEW_CHAIN, openEmbeddedLog, openRunSpool } from '@agent-audit/spool'
import { expect, it } from 'vitest'
import { NO_BROKER, openTrail } from '../producer/support.ts'
import { chunkOf } from '../spool/chunks.ts'
import { checkSeals, newKey, readMessages, type TestKey } from '../support/sealed-runs.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const TOPIC = 'audit.events'
const RUN = 'a'.repeat(32)

async function run(args: readonly string[], env: Record<string, string> = {}) {
  let [out, err] = ['', '']
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
  return { code, out, err }
}

function keyFileOf(directory: string, { pem }: TestKey): string {
  const file = join(directory, 'drain.key')
  writeFileSync(file, pem, { mode: 0o600 })
  return file
}

/** A run with a key that was closed without its broker: its records are sealed, and nothing is sent. */
async function leaveRun(spoolDir: string, key: TestKey): Promise<string> {
  const trail = openTrail({ ...NO_BROKER, agentId: 'dead', spoolDir, signing: { key: key.pem } })
  const session = trail.startSession()
  for (let index = 0; index < 20; index++) await session.decision({ reasoning: `${index}` }).stored
  await trail.close({ timeoutMs: 0 })
  return trail.runId
}

/** A killed run as the disk has it: three chunks of five records, of which one is sealed and one was trimmed unsealed. */
function leaveKilled(spoolDir: string): void {
  const seals = { producerId: 'dead', chain: NEW_CHAIN, leaves: [] }
  const directory = join(spoolDir, TOPIC)
  const spool = openRunSpool({ directory, runId: RUN, topic: TOPIC, maxBytes: 1e6, fsync: false, seals })
  spool.bind({ cluster: 'c', partitions: 4 })
  const leaves = { records: 5, schema: '0'.repeat(16), leaves: new Uint8Array(160) }
  for (const first of [0, 5, 10]) spool.append(chunkOf(first, 5), { leaves: { ...leaves, firstSeq: first } })
  const prev = new Uint8Array(32)
  spool.seals?.seal('note', { number: 1, nextSeq: 5, prev, undelivered: [], ended: false })
  spool.trim(2)
  spool.close()
}

it('status says how many records are unsealed and how many seals are unsent, and since when', async () => {
  const spoolDir = makeTempDirectory()
  const before = Date.now()
  leaveKilled(spoolDir)
  const { code, out } = await run(['spool', 'status', spoolDir, '--json'])
  expect(code).toBe(0)
  const [{ seals }] = JSON.parse(out) as [{ seals: Record<string, number> }]
  expect(seals).toMatchObject({ unsealed: 10, unsent: 1 })
  for (const time of [seals['oldestUnsealedMs'], seals['oldestUnsentMs']]) {
    expect(time).toBeGreaterThanOrEqual(before)
    expect(time).toBeLessThanOrEqual(Date.now())
  }
  const { out: text } = await run(['spool', 'status', spoolDir])
  expect(text).toMatch(/UNSEALED +SEALS/)
  expect(text).toMatch(/^10 unsealed events, the oldest of \d{4}-/m)
  expect(text).toMatch(/^1 unsent seal, the oldest of \d{4}-/m)
})

it('status of a run without a key has no seals', async () => {
  const spoolDir = makeTempDirectory()
  const trail = openTrail({ ...NO_BROKER, agentId: 'dead', spoolDir })
  await trail.startSession().decision({ reasoning: 'none' }).stored
  await trail.close({ timeoutMs: 0 })
  const { out } = await run(['spool', 'status', spoolDir, '--json'])
  expect(JSON.parse(out)).toMatchObject([{ seals: null }])
})

it.each(['AUDIT_SIGNING_KEY', 'AUDIT_SIGNING_KEY_FILE', ''])(
  'drain sends the seals, with the key of "%s"',
  async (name) => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    const log = openEmbeddedLog({ directory: dataDir })
    log.createTopic(TOPIC, 4)
    log.close()
    const [dead, drain] = [newKey('dead'), newKey('drain')]
    const runId = await leaveRun(spoolDir, dead)
    const value = name === 'AUDIT_SIGNING_KEY' ? drain.pem.replaceAll('\n', '\\n') : keyFileOf(dataDir, drain)
    const env = name === '' ? {} : { [name]: value }
    const { code, out, err } = await run(['spool', 'drain', spoolDir, '-D', dataDir], env)
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('0 spools left')
    const runs = checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), [dead, drain])
    expect(runs.get(runId)).toMatchObject({ faults: [], unsealed: [], sealedTwice: [], missing: [] })
    // The drain records as well: with a key its own run is sealed.
    const own = [...runs].filter(([id]) => id !== runId).map(([, { producerId }]) => producerId)
    expect(own).toEqual([name === '' ? '' : 'drain'])
  },
)

it.each([
  ['a file that others can read', 'AUDIT_SIGNING_KEY_FILE', /drain\.key: expected mode 0600 or 0400, found 0644/],
  ['a text that is no key', 'AUDIT_SIGNING_KEY', /AUDIT_SIGNING_KEY: expected /],
  ['a signer that is not there', 'AUDIT_SIGNER_SOCKET', /no-signer\.sock/],
])('drain with %s sends nothing, and says why', async (_, name, message) => {
  const directory = makeTempDirectory()
  const file = keyFileOf(directory, newKey('drain'))
  chmodSync(file, 0o644)
  const values: Record<string, string> = {
    AUDIT_SIGNING_KEY_FILE: file,
    AUDIT_SIGNING_KEY: 'no key',
    AUDIT_SIGNER_SOCKET: join(directory, 'no-signer.sock'),
  }
  const { code, out, err } = await run(['spool', 'drain', directory, '-D', directory], { [name]: values[name] ?? '' })
  expect(code).toBeGreaterThan(1)
  expect(out).toBe('')
  expect(err).toMatch(message)
  expect(err).not.toContain('no key')
})
