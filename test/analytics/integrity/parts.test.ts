/** Parts of verify beside rows and seals: approvals, expired rows, quarantined rows, and who may not verify what. */
import { checkIntegrity, type Integrity, type IntegrityOptions, quarantineRow, rowsAt } from '@agent-audit/analytics'
import { formatApproval, formatNote, type SignedApproval } from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { MadeTrail } from '../../support/made-trail.ts'
import { encodeRecord, makeRecord } from '../../support/records.ts'
import { execute, LOG_ID, seedSkipped, type SeedRow } from '../seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../support.ts'

const MISSING = NO_CLICKHOUSE === undefined ? '' : `(skipped: ${NO_CLICKHOUSE})`
const SHA = 'ab'.repeat(32)
const ID = '01900000-0000-7000-8000-0000000000aa'
const LAST_MONTH = new Date(Date.now() - 45 * 86_400_000)

describe.skipIf(NO_CLICKHOUSE !== undefined)(`verify, part by part ${MISSING}`, async () => {
  if (NO_CLICKHOUSE !== undefined) return
  const tests = await startTestServer()

  async function newMade() {
    const analytics = await tests.newTrail()
    const made = new MadeTrail(analytics)
    const check = (options: Partial<IntegrityOptions> = {}): Promise<Integrity> =>
      checkIntegrity(analytics, { trust: made.trust, checkpoints: made.checkpoints, ...options })
    const change = (statement: string): Promise<string> =>
      execute(analytics.server, statement, { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` })
    /** A decision on record, signed by a key; the seals are those of its record. */
    const decide = async (signer: string, said: Partial<SignedApproval> = {}, row: SeedRow = {}): Promise<void> => {
      const text = formatApproval({
        id: ID,
        sessionId: 'session of one',
        toolName: 'pay',
        onBehalfOf: undefined,
        argumentsSha256: SHA,
        askedSha256: undefined,
        decision: 'approved',
        approverKind: 'person',
        approverId: 'approver',
        identitySource: 'https://id',
        shownSha256: SHA,
        decidedAt: Date.now(),
        expiresAt: Date.now() + 6e4,
        ...said,
      })
      const signature = formatNote(text, [made.key(signer).signatureLine(text)])
      const approval = { approver_kind: 'person', identity_source: 'https://id', shown_sha256: SHA, signature }
      await made.store('one', 1, {
        event_type: 'approval_decision',
        tool_name: 'pay',
        arguments_sha256: SHA,
        approval_id: ID,
        approval_status: 'approved',
        approver_id: 'approver',
        approval: JSON.stringify(approval),
        ...row,
      })
      await made.step({ one: 1 })
    }
    return { analytics, made, check, change, decide }
  }

  /** Rows of last month, and what retention does with them. */
  async function oldRows() {
    const parts = await newMade()
    const log_time = LAST_MONTH.toISOString().replace('T', ' ').replace('Z', '')
    await parts.made.store('one', 20, { log_time })
    await parts.made.sealRun('one')
    await parts.made.sealPartitions()
    await parts.made.step({ two: 5 })
    const month = LAST_MONTH.getUTCFullYear() * 100 + LAST_MONTH.getUTCMonth() + 1
    const note = async (): Promise<void> => {
      const of = `'default', ${month}`
      await parts.change(
        `INSERT INTO audit_expired (log_id, log_partition, first_offset, last_offset, retention_class, month)
         VALUES (unhex('${LOG_ID}'), 0, 0, 9, ${of}), (unhex('${LOG_ID}'), 1, 0, 9, ${of})`,
      )
      await parts.change(
        `INSERT INTO audit_expired_runs (run_id, first_run_seq, last_run_seq, kind, retention_class, month)
         VALUES (unhex('${parts.made.runId('one')}'), 0, 19, 'event', ${of})`,
      )
    }
    const drop = (): Promise<string> => parts.change(`ALTER TABLE audit_events DELETE WHERE log_offset <= 9`)
    return { ...parts, note, drop }
  }

  it('an approval signed by its approver counts; one without a signature is named', async () => {
    const { made, check, decide } = await newMade()
    await decide('approver')
    expect(await check()).toMatchObject({ verdict: 'verified', findings: [] })
    await made.store('one', 1, { event_type: 'approval_decision', approval: '{"approver_kind":"person"}' })
    await made.step({ one: 1 })
    const unsigned = await check()
    expect(unsigned.verdict).toBe('verified')
    expect(unsigned.not_checked).toContainEqual(
      'approvals and overrides: 1 are not signed, though the trust file has approvers',
    )
    const keys = made.trust.keys.filter(({ role }) => role !== 'approver')
    const nobody = await check({ trust: { ...made.trust, keys } })
    expect(nobody.not_checked).toContainEqual('approvals and overrides: 1 are signed: the trust file has no approver')
  })

  it.each([
    ['by a key of another role', 'p1', {}, {}, /has the role producer/],
    ['of another decision', 'approver', { argumentsSha256: 'cd'.repeat(32) }, {}, /arguments_sha256 differ/],
    ['of a rejection', 'approver', { decision: 'rejected' }, {}, /decision differ/],
    [
      'in the name of no principal, for a call in the name of one',
      'approver',
      {},
      { event_type: 'tool_call', on_behalf_of: 'anna' },
      /on_behalf_of differ/,
    ],
    [
      'of other arguments, with a note that the signature is encrypted',
      'approver',
      { argumentsSha256: 'cd'.repeat(32) },
      { field_notes: '{"approval":{"encrypted":true}}' },
      /arguments_sha256 differ/,
    ],
    ['for another approver', 'approver', { approverId: 'kim' }, { approver_id: 'kim' }, /may not sign for "kim"/],
  ] as const)('an approval that a producer recorded and sealed, signed %s', async (_, signer, said, row, message) => {
    const { check, decide } = await newMade()
    await decide(signer, said, row)
    const report = await check()
    expect(report).toMatchObject({ verdict: 'tampering' })
    expect(report.findings).toEqual([
      expect.objectContaining({ code: 'approval-forged', message: expect.stringMatching(message), first_run_seq: 0 }),
    ])
    // A guard that has refused it records that: nothing ran on it.
    const refused = await newMade()
    await refused.decide(signer, said, { ...row, outcome: 'denied' })
    expect((await refused.check()).verdict).toBe('verified')
  })

  it('the signature of an approval is encrypted: named, and no finding', async () => {
    const { check, decide } = await newMade()
    const signature = `enc:v1:${'a1'.repeat(16)}:${Buffer.alloc(600, 7).toString('base64')}`
    const approval = JSON.stringify({ approver_kind: 'person', identity_source: 'https://id', signature })
    await decide('approver', {}, { approval, field_notes: '{"approval":{"encrypted":true}}' })
    const report = await check()
    expect(report).toMatchObject({ verdict: 'verified', findings: [] })
    expect(report.not_checked).toContainEqual('approvals and overrides: the signature of 1 is encrypted')
  })

  describe('retention drops rows whose seals stay', () => {
    it('with expiry notes they are expired: counted, and no finding', async () => {
      const { check, note, drop } = await oldRows()
      await note()
      expect((await check()).verdict).toBe('verified')
      await drop()
      const report = await check()
      expect(report).toMatchObject({ verdict: 'verified', findings: [], events: 5 })
      expect(report.not_checked).toContainEqual('the hashes of 2 consumer seals: rows of them have expired')
      expect(report.not_checked).toContainEqual(expect.stringMatching(/^the digest of 1 producer seals/))
    })

    it('without notes they are removed', async () => {
      const { check, drop } = await oldRows()
      await drop()
      const report = await check()
      expect(report.verdict).toBe('tampering')
      expect(report.findings).toContainEqual(
        expect.objectContaining({ code: 'rows-changed', message: expect.stringContaining('10 event(s) removed') }),
      )
    })

    it('a note does not excuse a changed row, nor one more', async () => {
      const { check, note, change } = await oldRows()
      await note()
      await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE reasoning = 'one 3'`)
      expect((await check()).verdict).toBe('tampering')
    })

    it('an increment after it reads on', async () => {
      const { made, check, note, drop } = await oldRows()
      const { state } = await check()
      await note()
      await drop()
      await made.step({ two: 3 })
      expect(await check({ from: state ?? undefined })).toMatchObject({ verdict: 'verified', findings: [], events: 3 })
    })
  })

  it('a quarantined row counts no more, and its seal shows that it was never sealed', async () => {
    const { analytics, made, check, change } = await newMade()
    await made.step({ one: 10 })
    await change(
      `INSERT INTO audit_events SELECT * REPLACE ('forged' AS reasoning, generateUUIDv4() AS event_id)
       FROM (SELECT * FROM audit_events WHERE reasoning = 'one 4')`,
    )
    expect((await check()).verdict).toBe('tampering')
    const [at] = await analytics.rows<{ first: number; p: number }>(
      `SELECT log_offset AS first, log_partition AS p FROM {database:Identifier}.audit_events WHERE reasoning = 'forged'`,
    )
    const position = { log_id: LOG_ID, partition: at?.p ?? -1, offset: at?.first ?? -1 }
    // Of the two rows at the offset, the forged one has another event_id.
    const rows = await rowsAt(analytics, position)
    const forged = rows.find(({ event_id }) => event_id?.startsWith('01900000') !== true)
    await quarantineRow(analytics, position, { row: forged?.row ?? '', reason: 'forged', release: false })
    expect(await check()).toMatchObject({ verdict: 'verified', findings: [], events: 10 })
    // A true row in quarantine is missed.
    const own = rows.find((row) => row !== forged)
    await quarantineRow(analytics, position, { row: own?.row ?? '', reason: 'by mistake', release: false })
    const missed = await check()
    expect(missed.verdict).toBe('tampering')
    expect(missed.findings.map(({ code }) => code)).toEqual(expect.arrayContaining(['rows-changed', 'records-missing']))
  })

  it.each([
    ['before', 0],
    ['after', 1],
  ])('a dead letter has the number of a stored event, and is read %s all records of its seal', async (_, partition) => {
    const { analytics, made, check, change } = await newMade()
    await made.step({ one: 10 })
    const value = encodeRecord(makeRecord('one', 4, { reasoning: 'forged' })).toString('hex')
    const dead = { kind: 'dead', run_id: made.runId('one'), run_seq: 4, log_partition: partition, log_offset: 5 }
    await seedSkipped(analytics.server, [{ ...dead, value: 'to come' }])
    await change(`ALTER TABLE audit_skipped UPDATE value = unhex('${value}') WHERE kind = 'dead'`)
    const { findings } = await check()
    const place = { run_id: made.runId('one'), first_run_seq: 4, last_run_seq: 4, partition, first_offset: 5 }
    const message = expect.stringMatching(
      `own record is the event at .*; not its own: the dead letter at .*/${partition}/5$`,
    )
    expect(findings).toContainEqual(expect.objectContaining({ code: 'conflict-decided', ...place, message }))
    expect(findings.map(({ code }) => code)).not.toContain('records-changed')
  })

  it('dead letters have the numbers of many events of one seal: the stored ones are found right', async () => {
    const { analytics, made, check, change } = await newMade()
    await made.step({ one: 20 })
    const dead = { kind: 'dead', run_id: made.runId('one'), log_partition: 1, value: 'to come' }
    const numbers = Array.from({ length: 14 }, (_, seq) => seq)
    await seedSkipped(
      analytics.server,
      numbers.map((run_seq) => ({ ...dead, run_seq, log_offset: 10 + run_seq })),
    )
    const value = encodeRecord(makeRecord('one', 4, { reasoning: 'forged' })).toString('hex')
    await change(`ALTER TABLE audit_skipped UPDATE value = unhex('${value}') WHERE kind = 'dead'`)
    const { findings } = await check()
    const tampering = findings.filter(({ severity }) => severity === 'tampering')
    expect(new Set(tampering.map(({ code }) => code))).toEqual(new Set(['conflict-decided']))
    const named = tampering.map(({ first_run_seq: seq = -1 }) => seq)
    expect(named.toSorted((one, other) => one - other)).toEqual(numbers)
  })

  it('dead letters have numbers of more seals than are held: said', async () => {
    const { analytics, made, check } = await newMade()
    const count = 2 ** 20
    for (let run = 0; run < 5; run++) await made.step({ [`run ${run}`]: 1 }, { count, last: count - 1 })
    const dead = { kind: 'dead', run_seq: 0, log_partition: 1 }
    await seedSkipped(
      analytics.server,
      [0, 1, 2, 3, 4].map((run) => ({ ...dead, run_id: made.runId(`run ${run}`), log_offset: 10 + run })),
    )
    expect((await check()).not_checked).toContainEqual(
      'whether dead letters are other records than the events whose numbers they have: 1 stored events',
    )
  })

  it('a column that the server computes, or another engine, is refused', async () => {
    const { made, check, change } = await newMade()
    await made.step({ one: 3 })
    await change(`ALTER TABLE audit_events MODIFY COLUMN latency_ms Nullable(Int64) MATERIALIZED 1`)
    await expect(check()).rejects.toMatchObject({
      code: 'STORE_UNFIT',
      message: expect.stringMatching(/latency_ms.*MATERIALIZED/),
    })
    await change(`ALTER TABLE audit_events MODIFY COLUMN latency_ms REMOVE MATERIALIZED`)
    expect((await check()).verdict).toBe('verified')
    await change(`RENAME TABLE audit_seals TO real_seals`)
    await change(`CREATE TABLE audit_seals AS real_seals ENGINE = Memory`)
    await expect(check()).rejects.toMatchObject({
      code: 'STORE_UNFIT',
      message: expect.stringMatching(/audit_seals.*Memory/),
    })
  })
})
