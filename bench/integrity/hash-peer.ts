/**
 * The same rows as a trail with hashes in its rows has them: a SHA-256 of all columns in each row, and a digest over the hashes of
 * each 1,024 offsets of a partition, both made and checked by the server. One statement checks all of it: hashes made again from the
 * columns, and the digests from them. A chain, in which each hash is over the one before, takes half as long again (its rows
 * pass one window in order), so the digest of groups is the quicker way to the same end.
 */
import type { Analytics } from '@agent-audit/analytics'
import { BLOCK_COLUMNS } from '@agent-audit/consumer/pipeline'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import { rounded } from '../support/results.ts'
import { TWIN_TABLE } from '../support/store.ts'

/** How the bytes of a row are written: the quickest way that the server has, and the way of most trails that hash rows. */
export const ROW_FORMATS = ['RowBinary', 'JSONEachRow'] as const
export type RowFormat = (typeof ROW_FORMATS)[number]

const DIGESTS = 'bench_digests'
const GROUP = 1024
/** As many as verify and the server have together. */
const CORES = 2
const COLUMNS = BLOCK_COLUMNS[EVENTS_TABLE].join(', ')
const PLACE = `log_id, log_partition, intDiv(log_offset, ${GROUP}) AS place`

const hashOf = (format: RowFormat): string => `SHA256(formatRow('${format}', ${COLUMNS}))`
const columnOf = (format: RowFormat): string => `hash_${format}`

/** Copies all rows, with their hashes, and makes the digests. */
export async function makeHashes(admin: Analytics): Promise<void> {
  const table = `{database:Identifier}.${TWIN_TABLE}`
  const columns = ROW_FORMATS.map(columnOf)
  for (const column of columns) await admin.command(`ALTER TABLE ${table} ADD COLUMN ${column} FixedString(32)`)
  const partitions = await admin.rows<{ log: string; partition: number }>(
    `SELECT DISTINCT hex(log_id) AS log, log_partition AS partition FROM {database:Identifier}.${EVENTS_TABLE}`,
  )
  for (const { log, partition } of partitions) {
    await admin.command(
      `INSERT INTO ${table} (${COLUMNS}, ${columns.join(', ')})
       SELECT ${COLUMNS}, ${ROW_FORMATS.map(hashOf).join(', ')} FROM {database:Identifier}.${EVENTS_TABLE}
       WHERE log_id = unhex({log:String}) AND log_partition = {partition:Int32} SETTINGS max_threads = ${CORES}`,
      { log, partition },
    )
  }
  await admin.command(
    `CREATE TABLE {database:Identifier}.${DIGESTS} ENGINE = MergeTree ORDER BY (log_id, log_partition, place) AS
     SELECT ${PLACE}, ${ROW_FORMATS.map((format) => `${digestOf(columnOf(format))} AS ${columnOf(format)}`).join(', ')}
     FROM ${table} GROUP BY log_id, log_partition, place`,
  )
}

/** @returns seconds. @throws Error if a row or a digest is wrong, or one is not there */
export async function checkHashes(admin: Analytics, format: RowFormat, events: number): Promise<number> {
  const began = performance.now()
  const [row] = await admin.rows<{ found: number; wrong: number }>(
    `SELECT toFloat64(sum(found)) AS found, toFloat64(countIf(changed > 0 OR made != kept)) AS wrong FROM
       (SELECT ${PLACE}, count() AS found, countIf(own != stored) AS changed, ${digestOf('own')} AS made FROM
         (SELECT log_id, log_partition, log_offset, ${columnOf(format)} AS stored, ${hashOf(format)} AS own
          FROM {database:Identifier}.${TWIN_TABLE})
        GROUP BY log_id, log_partition, place) AS groups
     FULL JOIN (SELECT log_id, log_partition, place, ${columnOf(format)} AS kept FROM {database:Identifier}.${DIGESTS}) AS digests
     USING (log_id, log_partition, place)
     SETTINGS max_threads = ${CORES}`,
  )
  if (row?.found !== events || row.wrong !== 0) {
    throw new Error(`hashes in the rows: ${JSON.stringify(row)} of ${events} events`)
  }
  return rounded((performance.now() - began) / 1000, 2)
}

function digestOf(hash: string): string {
  return `SHA256(arrayStringConcat(arrayMap(each -> each.2, arraySort(groupArray((log_offset, ${hash}))))))`
}
