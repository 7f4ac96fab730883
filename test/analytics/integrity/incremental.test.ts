/** A run of verify goes on from what the one before has found right: it reads what is new, and misses nothing there. */
import {
  checkIntegrity,
  faultOfState,
  formatVerifiedState,
  type Integrity,
  type IntegrityOptions,
  parseVerifiedState,
  type VerifiedState,
} from '@agent-audit/analytics'
import { describe, expect, it } from 'vitest'
import { MadeTrail } from '../../support/made-trail.ts'
import { execute } from '../seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../support.ts'

const MISSING = NO_CLICKHOUSE === undefined ? '' : `(skipped: ${NO_CLICKHOUSE})`

/** The state of a run that has verified all; as it is read from its file. */
function stateOf({ verdict, findings, state }: Integrity): VerifiedState {
  expect({ verdict, findings }).toEqual({ verdict: 'verified', findings: [] })
  expect(state).not.toBeNull()
  return parseVerifiedState(formatVerifiedState(state as VerifiedState))
}

const codesOf = ({ findings }: Integrity): string[] => [...new Set(findings.map(({ code }) => code))].toSorted()

describe.skipIf(NO_CLICKHOUSE !== undefined)(`verify by increments ${MISSING}`, async () => {
  if (NO_CLICKHOUSE !== undefined) return
  const tests = await startTestServer()

  async function newMade() {
    const analytics = await tests.newTrail()
    const made = new MadeTrail(analytics)
    const check = (options: Partial<IntegrityOptions> = {}): Promise<Integrity> =>
      checkIntegrity(analytics, { trust: made.trust, checkpoints: made.checkpoints, settleMs: 60_000, ...options })
    const change = (statement: string): Promise<string> =>
      execute(analytics.server, statement, { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` })
    return { analytics, made, check, change }
  }

  it('reads only what is new, and says what it took over', async () => {
    const { made, check } = await newMade()
    await made.step({ one: 20, two: 31 })
    const first = stateOf(await check())
    expect(first).toMatchObject({ leaves: 4, tree: { size: 4 }, events: 51 })
    await made.step({ one: 7, three: 5 })
    await made.step({ two: 4 }, { state: { kind: 'closed' } })
    const second = await check({ from: first })
    const next = stateOf(second)
    expect(second).toMatchObject({ events: 16, from: { events: 51, leaves: 4, verified_at: first.verified_at } })
    expect(second.completeness).toBeNull()
    expect(second.not_checked).toContainEqual(expect.stringContaining(`what the run of ${first.verified_at} has found`))
    expect(next).toMatchObject({ leaves: 11, tree: { size: 11 }, events: 67 })
    // The run that has ended is not kept.
    expect(next.runs.map(({ run_id }) => run_id).toSorted()).toEqual(
      [made.runId('one'), made.runId('three')].toSorted(),
    )
    // Nothing new at all.
    const third = await check({ from: next })
    expect(third).toMatchObject({ events: 0, tier: 'outside', verdict: 'verified' })
    expect(await check()).toMatchObject({ events: 67, verdict: 'verified', from: null })
  })

  it.each([
    ['its seals', false],
    ["its producer's seals", true],
  ])('reads again what had not %s, and accuses nothing of it', async (_, isStoredSealed) => {
    const { made, check } = await newMade()
    await made.step({ one: 20, two: 10 })
    // Rows without any seal; a sealed run of which the consumer has not sealed the rows.
    await made.store('one', 5)
    await made.store('three', 3)
    await made.sealRun('three')
    if (isStoredSealed) await made.sealPartitions()
    await made.checkpoint()
    const report = await check()
    const first = stateOf(report)
    expect(report.not_checked).toContainEqual(expect.stringMatching(/^5 events of the last moments/))
    if (!isStoredSealed) expect(report.not_checked).toContainEqual(expect.stringMatching(/^8 rows of the last moments/))
    expect(first.leaves).toBe(isStoredSealed ? 7 : 5)
    await made.sealRun('one')
    await made.sealPartitions()
    await made.step({ two: 9 })
    const second = await check({ from: first })
    stateOf(second)
    expect(second).toMatchObject({ events: 17, sealed_events: 17, sealed_rows: 17, verdict: 'verified' })
    // Without the time to settle it is incomplete, and nothing is left over.
    await made.store('one', 2)
    expect(await check({ settleMs: 0 })).toMatchObject({ verdict: 'incomplete', state: null })
  })

  it('finds tampering with what is new, and tampering with the end of what was read', async () => {
    const { made, check, change } = await newMade()
    await made.step({ one: 20, two: 10 })
    const from = stateOf(await check())
    await made.step({ one: 20, two: 10 })
    await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE reasoning = 'one 30'`)
    const changed = await check({ from })
    expect(changed).toMatchObject({ verdict: 'tampering', state: null })
    expect(codesOf(changed)).toEqual(['records-changed', 'rows-changed'])
    await change(`ALTER TABLE audit_events DELETE WHERE log_offset > 10`)
    expect(codesOf(await check({ from }))).toEqual(['rows-changed'])
  })

  it('a row that was changed before is found with --full alone: the report says so', async () => {
    const { made, check, change } = await newMade()
    await made.step({ one: 20 })
    const from = stateOf(await check())
    await made.step({ one: 5 })
    await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE reasoning = 'one 3'`)
    const increment = await check({ from })
    expect(increment.verdict).toBe('verified')
    expect(increment.not_checked).toContainEqual(expect.stringMatching(/--full reads it again/))
    expect((await check()).verdict).toBe('tampering')
  })

  it.each([
    ['a verified number again', 'one', `'one 3'`],
    ['a new number again', 'one', `'one 22'`],
    ['a number of a run that has ended', 'two', `'two 1'`],
  ])('a row with %s', async (_, run, reasoning) => {
    const { made, check, change } = await newMade()
    await made.step({ two: 6 }, { state: { kind: 'closed' } })
    await made.step({ one: 20 })
    const from = stateOf(await check())
    await made.step({ one: 5 })
    await change(
      `INSERT INTO audit_events SELECT * REPLACE (log_offset + 1000 AS log_offset, now64(3) AS log_time)
       FROM (SELECT * FROM audit_events WHERE reasoning = ${reasoning})`,
    )
    const report = await check({ from })
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'row-repeated', run_id: made.runId(run) }))
  })

  it('a record behind the end of a run that the state does not keep', async () => {
    const { made, check } = await newMade()
    await made.step({ two: 6 }, { state: { kind: 'closed' } })
    const from = stateOf(await check())
    expect(from.runs).toEqual([])
    await made.store('two', 1)
    await made.sealPartitions()
    await made.checkpoint()
    const report = await check({ from })
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'record-inserted', message: expect.stringContaining('had ended') }),
    )
  })

  it('seals that are gone, forked or exchanged since', async () => {
    const { made, check, change } = await newMade()
    await made.step({ one: 20, two: 10 })
    const early = stateOf(await check())
    await made.step({ one: 20 })
    const from = stateOf(await check({ from: early }))
    await change(`ALTER TABLE audit_seals DELETE WHERE leaf_index >= 5`)
    await change(`TRUNCATE TABLE audit_checkpoints`)
    const cut = await check({ from, checkpoints: made.checkpoints.slice(0, 1) })
    expect(codesOf(cut)).toContain('log-cut')
    expect(codesOf(await check({ from, checkpoints: [] }))).toContain('log-cut')
    // A new seal of a number that was verified.
    const forked = await newMade()
    await forked.made.step({ one: 10 })
    const before = stateOf(await forked.check())
    await forked.made.store('one', 5)
    await forked.made.sealRun('one', { number: 0, prev: undefined })
    await forked.made.sealPartitions()
    await forked.made.checkpoint()
    expect(codesOf(await forked.check({ from: before }))).toContain('seal-forked')
  })

  it('a log that does not extend the tree that was read', async () => {
    const { made, check, change } = await newMade()
    await made.step({ one: 20 })
    const from = stateOf(await check())
    const hashes = from.tree.hashes.map(() => Buffer.alloc(32, 1).toString('base64'))
    await made.step({ one: 3 })
    expect(codesOf(await check({ from: { ...from, tree: { ...from.tree, hashes } } }))).toContain('log-forked')
    await change(`ALTER TABLE audit_seals DELETE WHERE leaf_index = ${from.leaves}`)
    expect(codesOf(await check({ from }))).toContain('leaf-missing')
  })

  it('a state of another trail, of another trust file, or damaged, is known as one', async () => {
    const { analytics, made, check } = await newMade()
    await made.step({ one: 5 })
    const state = stateOf(await check())
    expect(await faultOfState(analytics, state, made.trust)).toBeUndefined()
    expect(await faultOfState(analytics, state, { ...made.trust, producers: ['p0'] })).toMatch(/trust file is another/)
    const other = { ...state, seals_log_id: 'ffffffffffffffff' }
    expect(await faultOfState(analytics, other, made.trust)).toMatch(/of the seal log ffffffffffffffff, and 0123/)
    const text = formatVerifiedState(state)
    expect(() => parseVerifiedState(text.replace('"events":5', '"events":6'))).toThrow(/damaged or cut/)
    expect(() => parseVerifiedState(text.slice(0, -9))).toThrow(/damaged or cut/)
    expect(() => parseVerifiedState('')).toThrow(/expected "audit-verify-state\/v1/)
  })

  it('since a time: the rows from the seal on that holds the first one', async () => {
    const { made, check, change } = await newMade()
    await made.step({ one: 20, two: 10 })
    await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE reasoning = 'one 3'`)
    await new Promise((resolve) => setTimeout(resolve, 20))
    const since = Date.now()
    await made.step({ one: 6 })
    const report = await check({ since })
    expect(report).toMatchObject({ verdict: 'verified', events: 6, state: null, completeness: null })
    expect(report.not_checked).toContainEqual(expect.stringMatching(/^rows appended before 20/))
    await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE reasoning = 'one 22'`)
    expect((await check({ since })).verdict).toBe('tampering')
  })

  it('without a trust file the seals are compared, and that no key was checked is said', async () => {
    const { made, check, change } = await newMade()
    await made.step({ one: 20, two: 10 })
    const report = await check({ trust: undefined })
    expect(report).toMatchObject({ verdict: 'verified', tier: 'none', state: null, sealed_events: 30 })
    expect(report.not_checked[0]).toMatch(/^keys: there is no trust file/)
    await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE reasoning = 'one 3'`)
    expect(codesOf(await check({ trust: undefined }))).toEqual(['records-changed', 'rows-changed'])
  })
})
