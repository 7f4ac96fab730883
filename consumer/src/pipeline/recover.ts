/**
 * Where to go on: steps 2 to 4 of the protocol, run once per assignment before anything is inserted. The two tables are the
 * only record of what is written; the committed offset is only where looking may begin.
 */
import type { Assignment, Committed } from '@agent-audit/kafka'
import { IntegrityError } from '@agent-audit/schemas'
import { type FenceState, readFence } from './fence.ts'
import type { OffsetRange, Sink } from './sink.ts'

export interface RecoverOptions {
  /** D and M of the protocol, milliseconds. */
  readonly leaseMs: number
  readonly marginMs: number
  readonly limits: { readonly maxDeadInARow: number }
  /** Waits, or throws once the assignment has ended. */
  readonly sleep: (ms: number) => Promise<void>
}

/** Where an assignment goes on. */
export interface Resume {
  /** First offset in neither table. */
  readonly next: number
  /** Ranges accounted for above `next`, in order: left out when they are read again. */
  readonly above: readonly OffsetRange[]
  /** Offset to read from: `next`, or the one below it where the row there can be compared with the log. */
  readonly readFrom: number
  /** Dead letters in a row just below `next`. */
  readonly deadInARow: number
}

/** First gap, and what lies above it. */
type Gap = Pick<Resume, 'next' | 'above'>

const POLL_MS = 50

/**
 * Waits until no insert of an earlier owner can land any more, then looks where the tables end.
 * @throws IntegrityError `LOG_TRUNCATED` if the log no longer holds what comes next, `LOG_REPLACED` if the tables do not
 * belong to this log.
 */
export async function recover(assignment: Assignment, sink: Sink, options: RecoverOptions): Promise<Resume> {
  let committed = (await assignment.position()).committed
  for (;;) {
    const state = readFence(committed?.metadata)
    await waitForOwnersBefore(assignment, sink, state, options)
    const ranges = await sink.accounted(assignment, scanFrom(state, committed?.offset))
    // The log's bounds are read after the tables. Before: an owner that does not know yet that it is none stores a record
    // appended since, and the table seems to reach beyond the log.
    const now = await assignment.position()
    if (isSame(committed, now.committed)) return conclude(assignment, { ...now, state, ranges }, sink, options)
    // Somebody else took the partition and wrote, or the offset was reset: what was committed and what is in the tables
    // are of different moments, and to compare them would be a false alarm. In the first case the assignment ends soon.
    committed = now.committed
  }
}

async function waitForOwnersBefore(
  assignment: Assignment,
  sink: Sink,
  state: FenceState,
  options: RecoverOptions,
): Promise<void> {
  const joinedAt = await sink.now()
  // The order matters. Clock first: from then on the server refuses every insert of an earlier owner. Process list
  // second: what it accepted before may still be writing. Tables last: now they hold all that will ever land.
  if (state.kind === 'clean') return
  const fencedAt = state.kind === 'busy' ? state.fencedAt : joinedAt
  await waitForClock(sink, fencedAt + options.leaseMs + options.marginMs, options)
  while ((await sink.runningInserts(assignment)) > 0) await options.sleep(POLL_MS)
}

/** What was found, all of one moment. */
interface Findings {
  readonly committed: Committed | undefined
  readonly start: number
  readonly end: number
  readonly state: FenceState
  readonly ranges: readonly OffsetRange[]
}

async function conclude(assignment: Assignment, found: Findings, sink: Sink, options: RecoverOptions): Promise<Resume> {
  const { committed, start, end, state, ranges } = found
  const base = state.kind === 'unknown' || committed === undefined ? start : committed.offset
  const gap = findGap(ranges, base)
  expectCommittedRow(assignment, ranges, base, start)
  checkSanity(assignment, gap, state, committed?.offset, { start, end })
  const readFrom = gap.next > start ? gap.next - 1 : gap.next
  return { ...gap, readFrom, deadInARow: await sink.deadInARow(assignment, gap.next, options.limits.maxDeadInARow) }
}

function isSame(one: Committed | undefined, other: Committed | undefined): boolean {
  return one?.offset === other?.offset && one?.metadata === other?.metadata
}

// Below a committed offset with our mark everything is accounted for. Without the mark (a reset by an operator, an
// expired group) the offset says nothing, and the whole partition is looked at.
function scanFrom(state: FenceState, committed: number | undefined): number {
  return state.kind === 'unknown' || committed === undefined ? 0 : Math.max(0, committed - 1)
}

/** @param base - Offset below which all is accounted for, or below which the log holds nothing. */
function findGap(ranges: readonly OffsetRange[], base: number): Gap {
  const [lowest, ...above] = ranges
  if (lowest === undefined || lowest.first > base) return { next: base, above: ranges }
  return { next: lowest.last + 1, above }
}

// A commit with our mark was acknowledged after the rows below it: a table without the last of them is another table,
// or an older copy of it. At the start of the log there may be no such row.
function expectCommittedRow(assignment: Assignment, ranges: readonly OffsetRange[], base: number, start: number): void {
  if (base <= start || (ranges[0]?.first ?? base) < base) return
  const where = `${assignment.topic}/${assignment.partition}`
  const missing = `the group has committed offset ${base} of ${where}, but the table has no row at ${base - 1}`
  throw new IntegrityError('LOG_REPLACED', `${missing}: was it restored or made anew?`)
}

function checkSanity(
  assignment: Assignment,
  { next, above }: Gap,
  state: FenceState,
  committed: number | undefined,
  log: { start: number; end: number },
): void {
  const where = `${assignment.topic}/${assignment.partition}`
  if (next < log.start) {
    const gone = `offsets ${next} to ${log.start - 1} of ${where} are gone from the log and not in the table`
    throw new IntegrityError('LOG_TRUNCATED', gone)
  }
  const highest = Math.max(next, committed ?? 0, (above.at(-1)?.last ?? -1) + 1)
  if (highest > log.end) {
    const ends = `${where} ends at offset ${log.end}, but offset ${highest} was reached before`
    throw new IntegrityError('LOG_REPLACED', `${ends}: the log was cut or replaced`)
  }
  if (state.kind !== 'clean') return
  if (committed !== next || above.length > 0) {
    const found = `the table goes on at ${next}${above.length > 0 ? `, with rows from ${above[0]?.first}` : ''}`
    throw new IntegrityError('LOG_REPLACED', `${where} was left clean at offset ${committed}, but ${found}`)
  }
}

/** Waits until the server's clock has passed `time`. Local clocks do not matter; the server's may be stepped. */
async function waitForClock(sink: Sink, time: number, options: Pick<RecoverOptions, 'sleep'>): Promise<void> {
  for (;;) {
    const left = time - (await sink.now())
    if (left < 0) return
    await options.sleep(Math.min(left + 1, 1000))
  }
}
