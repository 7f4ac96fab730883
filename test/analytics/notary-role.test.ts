/** The role of the notary on the real server: it inserts and reads the seal log, reads no event, and changes nothing. */
import { checkGrants, connectAnalytics } from '@agent-audit/analytics'
import { describe, expect, it } from 'vitest'
import { openStore } from '../consumer/support.ts'

const store = await openStore()
const DENIED = /^Code: 497/
const SEAL = `INSERT INTO audit_seals (seals_log_id, leaf_index, seals_offset, seals_topic, kind, note, topic, log_id, log_partition, first_number, last_number)
  SELECT 'seallog1', 0, 0, 'audit.events.seals', 'consumer', 'a note', 'audit.events', 'eventlog', 0, 0, 9`
const CHECKPOINT = `INSERT INTO audit_checkpoints (seals_log_id, size, origin, root, note, signed_at)
  SELECT 'seallog1', 1, 'trail.example/audit.events', toFixedString('root', 32), 'a note', now64(3)`

/** What no role may do to a table to which rows are only appended. */
const changes = (table: string): string[] => [
  `ALTER TABLE ${table} UPDATE note = 'changed' WHERE 1`,
  `UPDATE ${table} SET note = 'changed' WHERE 1`,
  `ALTER TABLE ${table} DELETE WHERE 1`,
  `DELETE FROM ${table} WHERE 1`,
  `TRUNCATE TABLE ${table}`,
  `ALTER TABLE ${table} DROP PARTITION ALL`,
  `ALTER TABLE ${table} ADD COLUMN more String`,
  `OPTIMIZE TABLE ${table} FINAL DEDUPLICATE`,
  `RENAME TABLE ${table} TO old`,
  `DROP TABLE ${table}`,
]

it('has no grants beyond its role', async () => {
  await using notary = connectAnalytics(store.dataDir.notary)
  await checkGrants(notary, 'notary')
  await using writer = connectAnalytics(store.dataDir.writer)
  await expect(checkGrants(writer, 'notary')).rejects.toMatchObject({
    message: expect.stringContaining('INSERT ON audit.audit_events'),
  })
})

describe.each([
  ['audit_seals', SEAL],
  ['audit_checkpoints', CHECKPOINT],
])('%s', (table, insert) => {
  it('is written by the notary alone, and read by the reader', async () => {
    for (const user of [store.dataDir.writer, store.dataDir.reader, store.dataDir.detector]) {
      expect(await store.send(insert, user)).toMatch(DENIED)
    }
    expect(await store.send(insert, store.dataDir.notary)).toBe('')
    const read = `SELECT note FROM ${table}`
    expect(await store.send(read, store.dataDir.reader)).toBe('a note\n')
    expect(await store.send(read, store.dataDir.notary)).toBe('a note\n')
    expect(await store.send(read, store.dataDir.writer)).toMatch(DENIED)
  })

  it.each(changes(table))('no role may: %s', async (statement) => {
    for (const user of [store.dataDir.writer, store.dataDir.detector, store.dataDir.notary]) {
      const answer = await store.send(statement, user, { enable_lightweight_update: '1' })
      expect([user.username, answer]).toEqual([user.username, expect.stringMatching(DENIED)])
    }
  })
})

it.each(['audit_events', 'audit_skipped', 'audit_quarantined', 'audit_expired'])(
  'the notary neither reads nor inserts into %s',
  async (table) => {
    expect(await store.send(`SELECT count() FROM ${table}`, store.dataDir.notary)).toMatch(DENIED)
    const insert = `INSERT INTO ${table} SELECT * FROM ${table} LIMIT 0`
    expect(await store.send(insert, store.dataDir.notary)).toMatch(DENIED)
  },
)

it('a seal says what it is of', async () => {
  const wrong = SEAL.replace("'eventlog', 0, 0, 9", 'NULL, NULL, 0, 9')
  expect(await store.send(wrong, store.dataDir.notary)).toMatch(/^Code: 469.*a_seal_says_what_it_is_of/s)
  expect(await store.send(SEAL.replace("'consumer'", "'other'"), store.dataDir.notary)).toMatch(/kind_is_known/)
})
