/** The stored events of a run, counted in the tables. */
import { type Analytics, eventCounts } from '@agent-audit/analytics'
import { EVENTS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'

export interface StoredRun {
  /** Rows of this run. */
  readonly rows: number
  /** Different events among them: the same number, if each is stored once. */
  readonly events: number
  /** Copies of this run's events that the consumer did not store. */
  readonly duplicates: number
  /** Records of this log that could not be stored, since the run began. */
  readonly deadLetters: number
  readonly byType: ReadonlyMap<string, number>
}

export interface RunQuery {
  /** 32 hex digits. */
  readonly runId: string
  /** 16 hex digits. */
  readonly logId: string
  readonly since: Date
}

type Figures<Key extends string> = Record<Key, unknown>

/** Rows and different events of a run. */
export async function countStored(reader: Analytics, runId: string): Promise<{ rows: number; events: number }> {
  const [found] = await reader.rows<Figures<'rows' | 'events'>>(
    `SELECT count() AS rows, uniqExact(run_seq) AS events
     FROM {database:Identifier}.${EVENTS_TABLE} WHERE run_id = unhex({runId:String})`,
    { runId },
  )
  return { rows: Number(found?.rows ?? 0), events: Number(found?.events ?? 0) }
}

export async function readStoredRun(reader: Analytics, { runId, logId, since }: RunQuery): Promise<StoredRun> {
  const [skipped] = await reader.rows<Figures<'duplicates' | 'dead_letters'>>(
    `SELECT countIf(kind = 'duplicate' AND run_id = unhex({runId:String})) AS duplicates,
       countIf(kind = 'dead' AND log_time >= fromUnixTimestamp64Milli({sinceMs:Int64})) AS dead_letters
     FROM {database:Identifier}.${SKIPPED_TABLE} WHERE log_id = unhex({logId:String})`,
    { runId, logId, sinceMs: since.getTime() },
  )
  const types = await eventCounts(reader, { runId })
  return {
    ...(await countStored(reader, runId)),
    duplicates: Number(skipped?.duplicates ?? 0),
    deadLetters: Number(skipped?.dead_letters ?? 0),
    byType: new Map(types.map(({ event_type: type, events }) => [type, events])),
  }
}
