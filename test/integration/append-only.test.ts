/** What the consumer's user may not do, asked of the real server: everything that changes, removes or reads content. */
import { describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openEmbedded, openStore, runConsumer } from '../consumer/support.ts'
import { encodeRun } from '../support/records.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }

/** What a thief of the consumer's password may try, with the table's own columns. */
function attempts(table: string, column: string): [what: string, statement: string][] {
  return [
    ['ALTER TABLE … UPDATE', `ALTER TABLE ${table} UPDATE ${column} = 'changed' WHERE 1`],
    ['lightweight UPDATE', `UPDATE ${table} SET ${column} = 'changed' WHERE 1`],
    ['ALTER TABLE … DELETE', `ALTER TABLE ${table} DELETE WHERE 1`],
    ['lightweight DELETE', `DELETE FROM ${table} WHERE 1`],
    ['TRUNCATE', `TRUNCATE TABLE ${table}`],
    ['DROP TABLE', `DROP TABLE ${table} SYNC`],
    ['DETACH', `DETACH TABLE ${table}`],
    ['RENAME', `RENAME TABLE ${table} TO ${table}_old`],
    ['EXCHANGE', `EXCHANGE TABLES audit_events AND audit_skipped`],
    ['OPTIMIZE', `OPTIMIZE TABLE ${table} FINAL`],
    ['OPTIMIZE … DEDUPLICATE', `OPTIMIZE TABLE ${table} FINAL DEDUPLICATE BY log_id`],
    ['DROP PARTITION', `ALTER TABLE ${table} DROP PARTITION ALL`],
    ['DETACH PARTITION', `ALTER TABLE ${table} DETACH PARTITION ALL`],
    ['ADD COLUMN', `ALTER TABLE ${table} ADD COLUMN more String`],
    ['DROP COLUMN', `ALTER TABLE ${table} DROP COLUMN ${column}`],
    ['MODIFY SETTING', `ALTER TABLE ${table} MODIFY SETTING non_replicated_deduplication_window = 0`],
    ['MODIFY TTL', `ALTER TABLE ${table} MODIFY TTL toDateTime(log_time) + INTERVAL 1 SECOND`],
    ['DROP CONSTRAINT', `ALTER TABLE ${table} DROP CONSTRAINT deadline`],
    ['SELECT of content', `SELECT ${column} FROM ${table}`],
    ['SELECT of everything', `SELECT * FROM ${table}`],
    ['a condition on content', `SELECT count() FROM ${table} WHERE ${column} LIKE 'a%'`],
    ['CREATE TABLE AS', `CREATE TABLE mine ENGINE = Memory AS SELECT log_offset FROM ${table}`],
    ['CREATE VIEW', `CREATE MATERIALIZED VIEW spy ENGINE = Memory AS SELECT log_offset FROM ${table}`],
    ['DROP DATABASE', 'DROP DATABASE audit SYNC'],
    ['GRANT', `GRANT ALTER ON ${table} TO audit_writer`],
    ['CREATE USER', 'CREATE USER thief'],
    ['SYSTEM STOP MERGES', `SYSTEM STOP MERGES ${table}`],
  ]
}

interface State {
  readonly tables: unknown
  readonly rows: unknown
}

/** All rows of both tables and how the tables are made, as the admin sees them. */
async function state(): Promise<State> {
  return {
    tables: await store.rows('SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()'),
    rows: await store.rows(
      `SELECT (SELECT (count(), sum(cityHash64(tuple(*)))) FROM audit_events) AS events,
         (SELECT (count(), sum(cityHash64(tuple(*)))) FROM audit_skipped) AS skipped`,
      { output_format_json_quote_64bit_integers: '1' },
    ),
  }
}

describe.each([
  ['audit_events', 'reasoning'],
  ['audit_skipped', 'value'],
])("the consumer's user on %s", (table, column) => {
  it('is refused all but inserts and its bookkeeping, and leaves every row as it was', async () => {
    const log = await openEmbedded(store)
    await log.append(0, [...encodeRun(table, 0, 49), null, ...encodeRun(table, 0, 4)])
    const consumer = runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 50, skipped: { dead: 1, duplicate: 5 } })
    await consumer.stop()
    const before = await state()

    const answers: Record<string, string> = {}
    for (const [what, statement] of attempts(table, column)) {
      const answer = await store.send(statement, store.dataDir.writer, { enable_lightweight_update: '1' })
      answers[what] = /^Code: \d+/.exec(answer)?.[0] ?? `done: ${answer}`
    }
    expect(answers).toEqual(Object.fromEntries(attempts(table, column).map(([what]) => [what, 'Code: 497'])))
    expect(await state()).toEqual(before)
    const bookkeeping = `SELECT count() FROM ${table} WHERE log_offset >= 0`
    expect(await store.send(bookkeeping, store.dataDir.writer)).toMatch(/^\d+\n$/)
  })
})
