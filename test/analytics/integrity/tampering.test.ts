/**
 * Tampering with a real trail, as an administrator of ClickHouse can: each act is found, with its place. The trail itself, with a
 * killed producer, an adopted spool, duplicates and dead letters in it, is accused of nothing.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Analytics, checkIntegrity, connectAnalytics, type Integrity, migrate } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { formatTrust, generateKey, signerFromPem, type Trust } from '@agent-audit/seals'
import { kafkaAvailability } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'
import { openStore, type Store } from '../../consumer/support.ts'
import { checkpointsOf, makeSealedTrail, type SealedTrail, signedBy, storeSealLog } from '../../support/sealed-trail.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`
const TABLES = ['audit_events', 'audit_skipped', 'audit_logs']

let copies = 0

/** Of statements of the administrator, who keeps to the constraints of the tables. */
function settings(): Record<string, string> {
  return { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` }
}

/** A new database with the rows of the trail, and with its seal log. */
async function copyOf(
  store: Store,
  trail: SealedTrail,
  seals: Partial<Pick<SealedTrail, 'notes' | 'checkpoints'>> = {},
): Promise<{ database: string; analytics: Analytics }> {
  const database = `copy_${copies++}`
  const analytics = connectAnalytics({ ...store.dataDir.admin, database })
  await migrate(analytics)
  for (const table of TABLES) {
    const parts = await store.rows<{ id: string }>(
      `SELECT DISTINCT partition_id AS id FROM system.parts WHERE active AND database = 'audit' AND table = '${table}'`,
    )
    for (const { id } of parts) {
      const attach = `ALTER TABLE ${database}.${table} ATTACH PARTITION ID '${id}' FROM audit.${table}`
      expect(await store.send(attach, store.dataDir.admin)).toBe('')
    }
  }
  await storeSealLog(store, database, { notes: trail.notes, checkpoints: trail.checkpoints, ...seals })
  return { database, analytics }
}

/** Inserts a row like a true one. */
const forged = (change: string): string => `INSERT INTO {db}.audit_events SELECT * REPLACE (${change})
  FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'c 5')`

/** Exchanges the texts of two rows. */
const swap = (one: string, other: string): string =>
  `ALTER TABLE {db}.audit_events UPDATE reasoning = if(reasoning = '${one}', '${other}', '${one}')
    WHERE reasoning IN ('${one}', '${other}')`

/** What is asserted of a report. */
function shortOf({ verdict, findings }: Integrity): unknown {
  return { verdict, codes: [...new Set(findings.map(({ code }) => code))].toSorted() }
}

describe.skipIf(!kafka.available)(`a sealed trail ${MISSING}`, async () => {
  if (!kafka.available) return
  const { brokers } = await sharedKafka()
  const store = await openStore()
  const directory = mkdtempSync(join(tmpdir(), 'integrity-test-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  const open: Analytics[] = []
  afterAll(async () => void (await Promise.all(open.map((each) => each.close()))))
  let trail: SealedTrail

  /** The verdict on a copy after these statements, in which `{db}` is its database. */
  async function after(
    statements: readonly string[],
    change: { trust?: Partial<Trust>; checkpoints?: readonly string[] } & Parameters<typeof copyOf>[2] = {},
  ): Promise<Integrity> {
    const { trust, ...seals } = change
    const { database, analytics } = await copyOf(store, trail, seals)
    open.push(analytics)
    for (const statement of statements) {
      expect(await store.send(statement.replaceAll('{db}', database), store.dataDir.admin, settings())).toBe('')
    }
    return checkIntegrity(analytics, {
      trust: { ...trail.trust, ...trust },
      checkpoints: trail.checkpoints,
    })
  }

  it(
    'is verified, with a killed producer, an adopted spool, duplicates and dead letters in it',
    { timeout: 180_000 },
    async () => {
      trail = await makeSealedTrail(store, brokers, directory)
      const report = await after([])
      expect(report.findings).toEqual([])
      expect(report).toMatchObject({ verdict: 'verified', tier: 'outside', truncated: false })
      expect(report.sealed_events).toBe(report.events)
      expect(report.sealed_rows).toBe(report.events + report.skipped)
      expect(report.completeness).toMatchObject({ verdict: 'complete', skipped: { duplicate: 20, dead: 2 } })
      expect(report.seals.counted).toBe(trail.notes.length)
      expect(report.seals.anchored_outside).toBe(trail.notes.length)
    },
  )

  it.each([
    ['a text is changed', `ALTER TABLE {db}.audit_events UPDATE reasoning = 'another' WHERE reasoning = 'a 30'`],
    ['a number is changed', `ALTER TABLE {db}.audit_events UPDATE step_number = 99 WHERE reasoning = 'a 30'`],
    ['the writer schema is changed', `ALTER TABLE {db}.audit_events UPDATE writer_schema = 1 WHERE reasoning = 'a 30'`],
  ])('%s: found, with the session', async (_, statement) => {
    const report = await after([statement])
    expect(report.verdict).toBe('tampering')
    const rows = report.findings.find(({ code }) => code === 'rows-changed')
    expect(rows).toMatchObject({ severity: 'tampering', message: expect.stringContaining('events changed') })
    expect(rows?.sessions).toContain('session a')
  })

  it.each([
    ['one row', `ALTER TABLE {db}.audit_events DELETE WHERE reasoning = 'b 7'`],
    ['a session', `ALTER TABLE {db}.audit_events DELETE WHERE session_id = 'session b'`],
    ['a prefix', `ALTER TABLE {db}.audit_events DELETE WHERE log_offset < 20`],
    ['the tail', `ALTER TABLE {db}.audit_events DELETE WHERE log_offset > 100`],
    ['a run', `ALTER TABLE {db}.audit_events DELETE WHERE producer_id = 'killed'`],
    ['all rows', `TRUNCATE TABLE {db}.audit_events`],
    ['a dead letter', `ALTER TABLE {db}.audit_skipped DELETE WHERE kind = 'dead'`],
  ])('%s is removed: found', async (_, statement) => {
    const report = await after([statement])
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'rows-changed', message: expect.stringContaining('removed') }),
    )
  })

  it('rows and their seals are removed: found by the checkpoint', async () => {
    const report = await after([
      `ALTER TABLE {db}.audit_events DELETE WHERE log_offset > 100`,
      `ALTER TABLE {db}.audit_seals DELETE WHERE leaf_index >= ${trail.notes.length - 4}`,
      `TRUNCATE TABLE {db}.audit_checkpoints`,
    ])
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'log-cut', leaf: trail.notes.length - 4 }))
  })

  it('a seal is taken out of the middle, or exchanged: found by the tree', async () => {
    const out = await after([`ALTER TABLE {db}.audit_seals DELETE WHERE leaf_index = 2`])
    expect(out.findings).toContainEqual(expect.objectContaining({ code: 'leaf-missing', leaf: 2 }))
    const fork = [...trail.notes.slice(0, -1), trail.notes[0] ?? '']
    const exchanged = await after([], { notes: fork })
    expect(exchanged.verdict).toBe('tampering')
    expect(exchanged.findings).toContainEqual(expect.objectContaining({ code: 'log-forked', leaf: fork.length - 1 }))
  })

  it('a forged row is inserted', async () => {
    const used = await after([forged(`'forged' AS reasoning, generateUUIDv4() AS event_id, 9999 AS run_seq`)])
    expect(used.verdict).toBe('tampering')
    expect(used.findings.map(({ code }) => code)).toEqual(expect.arrayContaining(['rows-changed', 'record-inserted']))
    const behind = await after([
      forged(`'forged' AS reasoning, 100000 AS log_offset, unhex('00112233445566778899aabbccddeeff') AS run_id,
        0 AS run_seq, now64(3) - 7200 AS log_time`),
    ])
    expect(behind.findings).toContainEqual(
      expect.objectContaining({
        code: 'record-inserted',
        first_offset: 100_000,
        run_id: '00112233445566778899aabbccddeeff',
      }),
    )
  })

  it('a forged row stands at an offset and a number far ahead: found, and soon', async () => {
    const report = await after([
      `INSERT INTO {db}.audit_events SELECT * REPLACE (9007199254740000 AS log_offset, 9007199254740000 AS run_seq)
        FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'c 5')`,
    ])
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'record-inserted', first_offset: 9_007_199_254_740_000 }),
    )
  })

  it('a true event is stored again at another offset', async () => {
    const report = await after([
      `INSERT INTO {db}.audit_events SELECT * REPLACE (100000 AS log_offset) FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'c 5')`,
    ])
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'row-repeated' }))
  })

  it('a forged row has the number of a true one: the seal says which is the own one', async () => {
    const report = await after([
      `INSERT INTO {db}.audit_events SELECT * REPLACE (100000 AS log_offset, 'forged' AS reasoning)
        FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'c 5')`,
    ])
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'conflict-decided', first_offset: 100_000, sessions: ['session c'] }),
    )
  })

  it('two rows change places, within a seal and across seals', async () => {
    for (const [one, other] of [
      ['a 1', 'a 2'],
      ['a 1', 'd 59'],
    ] as const) {
      const report = await after([swap(one, other)])
      expect(shortOf(report)).toEqual({ verdict: 'tampering', codes: ['records-changed', 'rows-changed'] })
    }
  })

  it('a consumer with its key stores another record: the producer has sealed its own', async () => {
    // Without the consumer's seals, the rows are found by the producer's alone.
    const notes = trail.notes.filter((note) => !note.startsWith('audit-seal/v1 consumer'))
    const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
    const { database, analytics } = await copyOf(store, trail, { notes, checkpoints })
    open.push(analytics)
    const change = `ALTER TABLE ${database}.audit_events UPDATE reasoning = 'x' WHERE reasoning = 'a 30'`
    expect(await store.send(change, store.dataDir.admin, settings())).toBe('')
    const report = await checkIntegrity(analytics, { trust: trail.trust, checkpoints })
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'records-changed', producer_id: 'agent' }))
  })

  it('a seal is signed again by another key of its name', async () => {
    const stranger = signerFromPem(generateKey('agent'))
    const at = trail.notes.findIndex((note) => note.includes('\n— agent '))
    const notes = trail.notes.with(at, signedBy(trail.notes[at] ?? '', stranger))
    const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
    const { analytics } = await copyOf(store, trail, { notes, checkpoints })
    open.push(analytics)
    const report = await checkIntegrity(analytics, { trust: trail.trust, checkpoints })
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'key-foreign', leaf: at }))
  })

  it('a key is used outside of its time', async () => {
    const keys = trail.trust.keys.map((each) => (each.key.name === 'agent' ? { ...each, revoked: 1000 } : each))
    const report = await after([], { trust: { keys } })
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'key-out-of-time', producer_id: 'agent' }))
  })

  it('a row is moved to the other partition of the log', async () => {
    const report = await after([
      `INSERT INTO {db}.audit_events SELECT * REPLACE (1 - log_partition AS log_partition, 100000 AS log_offset)
        FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'a 3')`,
      `ALTER TABLE {db}.audit_events DELETE WHERE reasoning = 'a 3' AND log_offset < 100000`,
    ])
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'rows-changed', message: expect.stringContaining('1 event(s) removed') }),
    )
  })

  it('a view stands in the place of a table: refused', async () => {
    const view = after([
      `RENAME TABLE {db}.audit_events TO {db}.real_events`,
      `CREATE VIEW {db}.audit_events AS SELECT * FROM {db}.real_events`,
    ])
    await expect(view).rejects.toMatchObject({ code: 'STORE_UNFIT', message: expect.stringContaining('View') })
    const computed = after([
      `ALTER TABLE {db}.audit_events DROP COLUMN execution_time_ms`,
      `ALTER TABLE {db}.audit_events ADD COLUMN execution_time_ms Nullable(Int64) ALIAS 1`,
    ])
    await expect(computed).rejects.toMatchObject({ code: 'STORE_UNFIT', message: expect.stringContaining('ALIAS') })
  })

  it('a key or every checkpoint is missing: could not check, with its name', async () => {
    const keys = trail.trust.keys.filter(({ role }) => role !== 'consumer')
    const without = await after([], { trust: { keys } })
    expect(without.verdict).toBe('unchecked')
    expect(without.findings[0]).toMatchObject({ code: 'key-missing', message: expect.stringContaining('consumer') })
    const { analytics } = await copyOf(store, trail, { checkpoints: [] })
    open.push(analytics)
    const alone = await checkIntegrity(analytics, { trust: trail.trust })
    expect(alone).toMatchObject({ verdict: 'unchecked', tier: 'none' })
    expect(alone.findings).toEqual([expect.objectContaining({ code: 'checkpoint-missing' })])
  })

  it('the stored row is a forged one and its true record a duplicate: the seal says so', async () => {
    const [duplicate] = await store.rows<{ run: string; seq: number; at: number }>(
      `SELECT lower(hex(run_id)) AS run, run_seq AS seq, log_offset AS at FROM audit.audit_skipped WHERE kind = 'duplicate' LIMIT 1`,
    )
    const { run = '', seq = 0, at = 0 } = duplicate ?? {}
    const report = await after([
      `ALTER TABLE {db}.audit_events UPDATE reasoning = 'forged' WHERE run_id = unhex('${run}') AND run_seq = ${seq}`,
    ])
    expect(report.findings).toContainEqual(
      expect.objectContaining({
        code: 'conflict-decided',
        run_id: run,
        first_run_seq: seq,
        message: expect.stringMatching(`own record is the duplicate at .*/${at};.*stored in its place`),
      }),
    )
    expect(report.findings.map(({ code }) => code)).not.toContain('records-changed')
  })

  it('the command: exit codes, places and --json', { timeout: 120_000 }, async () => {
    const trust = join(directory, 'trust.txt')
    writeFileSync(trust, formatTrust(trail.trust))
    const run = async (
      seals: Parameters<typeof copyOf>[2],
      statements: readonly string[],
      args: readonly string[] = [],
    ) => {
      const { database, analytics } = await copyOf(store, trail, seals)
      open.push(analytics)
      for (const statement of statements) {
        expect(await store.send(statement.replaceAll('{db}', database), store.dataDir.admin, settings())).toBe('')
      }
      const outside = join(directory, `${database}.checkpoints`)
      writeFileSync(outside, (seals?.checkpoints ?? trail.checkpoints).join('\n'))
      const { url, username, password } = store.dataDir.admin
      const server = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
      let [out, err] = ['', '']
      const terminal = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
      const env = { ...server, CLICKHOUSE_DATABASE: database, AUDIT_TRUST_FILE: trust, AUDIT_CHECKPOINTS_FILE: outside }
      const code = await runCli(['verify', ...args], { ...terminal, env, colors: false })
      return { code, out, err }
    }
    const good = await run({}, [])
    expect(good).toMatchObject({ code: 0, err: '' })
    expect(good.out).toMatch(/^VERIFIED {2}[\d,]+ events.*tier outside: .*not checked:\n/s)
    const bad = await run({}, [`ALTER TABLE {db}.audit_events DELETE WHERE session_id = 'session b'`], ['--json'])
    expect(bad.code).toBe(1)
    expect(JSON.parse(bad.out)).toMatchObject({ verdict: 'tampering', tier: 'outside', trust_signature: 'none' })
    // The last seal of a consumer has not arrived yet.
    const late = trail.notes.findLastIndex((note) => note.startsWith('audit-seal/v1 consumer'))
    const notes = trail.notes.toSpliced(late, 1)
    const log = { notes, checkpoints: checkpointsOf(notes, [notes.length], trail.notary) }
    const unsealed = await run(log, [], ['--settle', '0'])
    expect(unsealed.code).toBe(2)
    expect(unsealed.out).toMatch(
      /^INCOMPLETE.*incomplete rows-unsealed: log [0-9a-f]{16} partition \d, offsets \d+\.\.\d+: /s,
    )
    const older = await run({ checkpoints: [] }, [])
    expect(older.code).toBe(3)
    expect(older.out).toMatch(/^COULD NOT CHECK.*checkpoint-missing: no checkpoint of seals\.test\/trail/s)
    expect((await run({}, [], ['--completeness'])).out).toMatch(/^COMPLETE/)
    const one = await run({}, [], ['--partition', '1'])
    expect(one).toMatchObject({ code: 0, out: expect.stringContaining('other partitions') })
    expect(await run({}, [], ['--partition', '9'])).toMatchObject({
      code: 64,
      out: '',
      err: expect.stringMatching(/no such partition/),
    })
    const changed = `ALTER TABLE {db}.audit_events UPDATE reasoning = 'x' WHERE log_partition = 1 AND log_offset = 5`
    expect((await run({}, [changed], ['--partition', '1'])).code).toBe(1)
    expect((await run({}, [changed], ['--partition', '0'])).code).toBe(0)
  })
})
