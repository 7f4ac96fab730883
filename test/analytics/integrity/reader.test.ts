/** Who may verify: a reader whose profile takes no settings, and one from whom a row policy hides rows. */
import { checkIntegrity, connectAnalytics, migrate } from '@agent-audit/analytics'
import { NEWEST_SCHEMA, readerGrants } from '@agent-audit/schemas'
import { generateKey, signerFromPem, type Trust } from '@agent-audit/seals'
import { startClickHouse } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import { seedEvents, seedSkipped } from '../seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../support.ts'

const MISSING = NO_CLICKHOUSE === undefined ? '' : `(skipped: ${NO_CLICKHOUSE})`
const EVENTS = 2000
const WRITER = BigInt.asIntN(64, NEWEST_SCHEMA.fingerprint).toString()

const { key } = signerFromPem(generateKey('consumer'))
const TRUST: Trust = {
  keys: [{ key, role: 'consumer', notBefore: 0, notAfter: undefined, revoked: undefined }],
  producers: [],
  services: [],
  origin: undefined,
  witnesses: [],
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`verify by its reader ${MISSING}`, async () => {
  if (NO_CLICKHOUSE !== undefined) return
  const tests = await startTestServer()

  it('reads all rows, also where the profile lets a query choose no settings, and names what it may not see', async () => {
    const trail = await tests.emptyTrail()
    const text = 'a text of some length, so that the answer has many blocks '.repeat(20)
    await seedEvents(
      trail.server,
      Array.from({ length: EVENTS }, (_, index) => ({
        log_offset: index,
        reasoning: `${index} ${text}`,
        writer_schema: WRITER,
      })),
    )
    await seedSkipped(trail.server, [{ kind: 'hole', log_offset: EVENTS }])
    const reader = tests.connect('reader')
    const report = await checkIntegrity(reader, { trust: TRUST })
    expect(report).toMatchObject({ verdict: 'incomplete', events: EVENTS, skipped: 1, sealed_rows: 0, tier: 'none' })
    expect(report.findings).toEqual([
      expect.objectContaining({ code: 'rows-unsealed', first_offset: 0, last_offset: EVENTS }),
    ])
    expect(report.not_checked).toContainEqual(expect.stringContaining('row policies of other users'))
    expect(report.not_checked).toContainEqual(
      `${EVENTS} events of producers that have no key in the trust file, or from before it`,
    )
  })

  it('says that a row policy hides rows from its user, and counts those of others', async () => {
    const server = await startClickHouse({
      users: [{ name: 'filtered', grants: readerGrants('hidden'), filters: { 'hidden.audit_events': 'run_seq < 10' } }],
    })
    onTestFinished(() => server.stop())
    const as = (user: 'admin' | 'filtered') => ({ url: server.url, database: 'hidden', ...server.credentials[user] })
    await using admin = connectAnalytics(as('admin'))
    await migrate(admin)
    await seedEvents(
      as('admin'),
      Array.from({ length: 20 }, (_, index) => ({ log_offset: index, writer_schema: WRITER })),
    )
    await using filtered = connectAnalytics(as('filtered'))
    const hidden = await checkIntegrity(filtered, { trust: TRUST })
    expect(hidden).toMatchObject({ verdict: 'unchecked', events: 10 })
    expect(hidden.findings[0]).toMatchObject({ code: 'row-policy' })
    const all = await checkIntegrity(admin, { trust: TRUST })
    expect(all.events).toBe(20)
    expect(all.not_checked).toContainEqual(expect.stringMatching(/^1 row policies of the tables/))
  })
})
