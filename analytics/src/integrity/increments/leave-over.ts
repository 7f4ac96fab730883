/** The runs that a state does not keep, and what a run of verify leaves to the next. */
import { EVENTS_TABLE, SEALS_TABLE } from '@agent-audit/schemas'
import { noteHash, parseNote, parseProducerSeal } from '@agent-audit/seals'
import type { Analytics } from '../../connection/clickhouse.ts'
import { number, type Row, text } from '../../connection/rows.ts'
import { IN_RANGE } from '../../queries/log-ranges.ts'
import type { PassedPartition } from '../rows/row-pass.ts'
import type { RunSeals } from '../rows/run-seals.ts'
import type { SealBook } from '../seal-log/seal-book.ts'
import type { ReadTree } from '../seal-log/seal-log.ts'
import { bytesOf, type TakenOver, type TakenRun } from './taken-over.ts'
import type { VerifiedPartition, VerifiedRun, VerifiedState } from './verified-state.ts'

const RUNS_IN_ROWS = `
  SELECT DISTINCT lower(hex(run_id)) AS run FROM {database:Identifier}.${EVENTS_TABLE} WHERE ${IN_RANGE}`
const LAST_SEALS = `
  SELECT leaf_index, base64Encode(note) AS note FROM {database:Identifier}.${SEALS_TABLE}
  WHERE kind = 'producer' AND seals_log_id = unhex({logId:String}) AND leaf_index < {size:UInt64}
    AND run_id IN (SELECT unhex(arrayJoin({runs:Array(String)})))
  ORDER BY number DESC LIMIT 1 BY run_id`
const RUNS_AT_ONCE = 10_000

/** Adds the last seals of ended runs, which the state does not keep, where new rows or seals name such a run. */
export async function lookUpRuns(
  analytics: Analytics,
  taken: TakenOver,
  { book, partitions }: { readonly book: SealBook; readonly partitions: readonly PassedPartition[] },
): Promise<void> {
  const asked = new Set(book.runs.keys())
  for (const { log, partition, first, last } of partitions) {
    const range = { log, partition, from: first, to: last + 1 }
    for (const row of await analytics.rows<Row>(RUNS_IN_ROWS, range)) asked.add(text(row, 'run'))
  }
  const unknown = [...asked].filter((run) => !taken.runs.has(run))
  for (let at = 0; at < unknown.length; at += RUNS_AT_ONCE) {
    const params = { logId: taken.logId, size: taken.tree.size, runs: unknown.slice(at, at + RUNS_AT_ONCE) }
    for (const row of await analytics.rows<Row>(LAST_SEALS, params)) {
      const note = bytesOf(text(row, 'note')).toString()
      const { text: signed } = parseNote(note)
      const { runId, number: sealNumber, last, topic, producerId, state } = parseProducerSeal(signed)
      const hash = noteHash(note)
      const seal = { leaf: number(row, 'leaf_index'), runId, number: sealNumber, last, topic, producerId, state }
      taken.runs.set(runId, { ...seal, hash, textHash: noteHash(signed), readTo: taken.leaves })
    }
  }
}

export interface Verified {
  readonly trust: string
  readonly startedAt: number
  readonly tree: ReadTree
  readonly partitions: readonly PassedPartition[]
  readonly runs: RunSeals
  readonly expected: readonly string[]
  readonly events: number
  readonly taken: TakenOver | undefined
}

/** What the next run may take over from a run that has found nothing wrong; undefined: several seal logs, or none. */
export function leaveOver({
  trust,
  startedAt,
  tree,
  partitions,
  runs,
  taken,
  ...rest
}: Verified): VerifiedState | undefined {
  if (tree.log === undefined) return undefined
  const waiting = runs.waiting()
  const verified = partitions.map((partition) => verifiedPart(partition, waiting.get(partition.key) ?? Infinity, taken))
  const firstOpen = Math.min(tree.size, runs.firstOpenLeaf(), ...verified.map(({ firstOpen: leaf }) => leaf))
  const { size, hashes } = tree.before(firstOpen)
  const producers = new Set([...(taken?.state.producers ?? []), ...runs.producers])
  return {
    trust,
    seals_log_id: tree.log,
    verified_at: new Date(startedAt).toISOString(),
    leaves: tree.size,
    tree: { size, hashes: hashes.map((hash) => hash.toString('base64')) },
    partitions: verified.flatMap(({ part }) => (part === undefined ? [] : [part])),
    runs: runs
      .lastVerified()
      .filter(({ state, leaf }) => state.kind === 'open' || leaf >= size)
      .map(formOf),
    producers: rest.expected.filter((id) => producers.has(id)),
    events: rest.events + (taken?.state.events ?? 0),
  }
}

function formOf({
  runId,
  producerId,
  hash,
  textHash,
  state,
  leaf,
  number: sealNumber,
  last,
  topic,
}: TakenRun): VerifiedRun {
  const hashes = { hash: hash.toString('base64'), text_hash: textHash.toString('base64') }
  return { run_id: runId, producer_id: producerId, topic, leaf, number: sealNumber, last, ...hashes, state: state.kind }
}

interface VerifiedPart {
  readonly part: VerifiedPartition | undefined
  /** The first leaf of a seal that is not verified to its end. */
  readonly firstOpen: number
}

/** @param waiting - The first offset whose record waits for its seal, or for other records of it. */
function verifiedPart(
  { key, log, partition, seals: { seals }, last: read_to }: PassedPartition,
  waiting: number,
  taken: TakenOver | undefined,
): VerifiedPart {
  const done = seals.filter(({ last }) => last < waiting)
  const firstOpen = Math.min(Infinity, ...seals.slice(done.length).map(({ leaf }) => leaf))
  const newest = done.at(-1)
  const before = taken?.partitions.get(key)
  const end = newest ?? before
  if (end === undefined) return { part: undefined, firstOpen }
  const seal = end.textHash.toString('base64')
  return { part: { log_id: log, partition, next: end.last + 1, read_to, seal }, firstOpen }
}
