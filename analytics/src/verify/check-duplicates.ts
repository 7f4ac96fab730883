/**
 * Compares each duplicate with the stored record whose number it has. The same record, sent again, is no finding. Another
 * record is a conflict: which of the two is the real one, the rows do not say.
 */
import { askInChunks, EVENTS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import type { Conflict, PartitionReport } from './completeness-report.ts'
import { RUN_NOTES_OF } from './expiry-queries.ts'
import { digestOfRecord, ROW_DIGEST } from './record-digest.ts'

/** Duplicates that are compared together: a few hundred bytes of each are in memory. */
const PAGE = 20_000

const IN_PARTITION = 'log_id = unhex({log:String}) AND log_partition = {partition:Int32}'
const DUPLICATES = `
  SELECT log_offset, lower(hex(run_id)) AS run_id_hex, run_seq, base64Encode(value) AS value
  FROM {database:Identifier}.${SKIPPED_TABLE}
  WHERE ${IN_PARTITION} AND kind = 'duplicate' AND log_offset > {after:Int64}
  ORDER BY log_id, log_partition, log_offset LIMIT ${PAGE}`
const ASKED = `
  SELECT assumeNotNull(run_id) AS run_id, assumeNotNull(run_seq) AS run_seq FROM {database:Identifier}.${SKIPPED_TABLE}
  WHERE ${IN_PARTITION} AND kind = 'duplicate' AND log_offset BETWEEN {from:Int64} AND {to:Int64}
    AND isNotNull(run_id) AND isNotNull(run_seq)`
/** Of the runs of the duplicates, from a projection that has one row a run and part. */
const BOUND = (which: 'min' | 'max'): string => `(
  SELECT ${which}(log_offset) FROM {database:Identifier}.${EVENTS_TABLE}
  WHERE ${IN_PARTITION} AND run_id IN (SELECT run_id FROM (${ASKED})))`
/** The stored records that these duplicates repeat: by the primary key, within the offsets of their runs. */
const STORED = `
  SELECT lower(hex(run_id)) AS run_id_hex, run_seq, log_offset, ${ROW_DIGEST} AS digest
  FROM {database:Identifier}.${EVENTS_TABLE}
  PREWHERE ${IN_PARTITION} AND log_offset BETWEEN ${BOUND('min')} AND ${BOUND('max')} AND (run_id, run_seq) IN (${ASKED})`

export type CheckedDuplicates = Pick<PartitionReport, 'conflicts' | 'conflicting' | 'uncompared'>

/** A duplicate, and what became of its comparison. */
interface Compared {
  readonly offset: number
  readonly run: string
  readonly seq: number
  /** Undefined: its bytes are not kept, or are no record. */
  readonly digest: string | undefined
  /** Offset of the first stored record of that number, and whether one of them is the same. */
  stored: number | undefined
  same: boolean
}

/** @param limit - Most conflicts to name. */
export async function checkDuplicates(
  analytics: Analytics,
  { log_id, partition }: Pick<PartitionReport, 'log_id' | 'partition'>,
  limit: number,
): Promise<CheckedDuplicates> {
  const at = { log: log_id, partition }
  const conflicting: Conflict[] = []
  let [conflicts, uncompared, after] = [0, 0, -1]
  for (;;) {
    const page = await readPage(analytics, { ...at, after })
    const last = page.at(-1)
    if (last === undefined) return { conflicts, conflicting, uncompared }
    await compare(analytics, page, { ...at, from: page[0]?.offset, to: last.offset })
    const expired = await expiredAmong(analytics, page)
    for (const duplicate of page) {
      if (duplicate.same) continue
      if (expired.has(duplicate)) uncompared++
      else {
        conflicts++
        if (conflicting.length < limit) conflicting.push(toConflict(duplicate))
      }
    }
    if (page.length < PAGE) return { conflicts, conflicting, uncompared }
    after = last.offset
  }
}

async function readPage(analytics: Analytics, params: Record<string, unknown>): Promise<Compared[]> {
  const page: Compared[] = []
  for await (const row of analytics.query(DUPLICATES, { schema: UNCHECKED, params })) {
    const value = row['value'] === null ? undefined : Buffer.from(text(row, 'value'), 'base64')
    const digest = value && digestOfRecord(value)
    const [offset, run, seq] = [number(row, 'log_offset'), text(row, 'run_id_hex'), number(row, 'run_seq')]
    page.push({ offset, run, seq, digest, stored: undefined, same: false })
  }
  return page
}

const UNCHECKED = { parse: (row: unknown): Row => row as Row }

async function compare(analytics: Analytics, page: Compared[], params: Record<string, unknown>): Promise<void> {
  const byNumber = Map.groupBy(page, ({ run, seq }) => `${run}:${seq}`)
  for await (const row of analytics.query(STORED, { schema: UNCHECKED, params })) {
    for (const duplicate of byNumber.get(`${text(row, 'run_id_hex')}:${text(row, 'run_seq')}`) ?? []) {
      duplicate.stored = Math.min(duplicate.stored ?? Number.POSITIVE_INFINITY, number(row, 'log_offset'))
      duplicate.same ||= duplicate.digest === text(row, 'digest')
    }
  }
}

/** Those whose stored record retention has dropped: they cannot be compared any more. */
async function expiredAmong(analytics: Analytics, page: readonly Compared[]): Promise<ReadonlySet<Compared>> {
  const alone = Map.groupBy(
    page.filter(({ stored, digest }) => stored === undefined && digest !== undefined),
    ({ run }) => run,
  )
  const notes = await askInChunks([...alone.keys()], (runs) => analytics.rows<Row>(RUN_NOTES_OF, { runs }))
  const ofEvents = notes.filter((note) => text(note, 'kind') === 'event')
  return new Set(
    ofEvents.flatMap((note) =>
      (alone.get(text(note, 'run_id_hex')) ?? []).filter(
        ({ seq }) => seq >= number(note, 'first') && seq <= number(note, 'last'),
      ),
    ),
  )
}

function toConflict({ offset, run, seq, digest, stored }: Compared): Conflict {
  const found = stored === undefined ? 'not stored' : digest === undefined ? 'bytes lost' : 'other record'
  return { run_id: run, run_seq: seq, offset, stored_offset: stored ?? null, found }
}
