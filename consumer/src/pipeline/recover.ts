/**
 * Finds where to go on: steps 2 to 4 of the protocol, run once per assignment before its first insert, and after an unclear
 * insert. The two tables alone say what is written, and the expiry notes what retention has dropped of it. The committed offset
 * only says where the search may begin.
 */
import type { Assignment, Committed } from '@agent-audit/kafka'
import { IntegrityError } from '@agent-audit/schemas'
import { type FenceState, readMetadata } from './commit-metadata.ts'
import type { OffsetRange, Sink } from './sink.ts'

export interface RecoverOptions {
  /** D and M of the protocol, milliseconds. */
  readonly leaseMs: number
  readonly marginMs: number
  readonly limits: { readonly maxDeadInARow: number }
  /** Waits, or throws once the assignment has ended. */
  readonly sleep: (ms: number) => Promise<void>
}

/** The position that an assignment goes on from. */
export interface Resume {
  /** First offset that is neither in a table nor noted as expired. */
  readonly next: number
  /** Ranges above `next` that are accounted for, in order. They are left out when they are read again. */
  readonly above: readonly OffsetRange[]
  /**
   * Offset to read from: `next`, or one below it, from which on rows can be compared with the log. After a busy owner that is the
   * committed offset: each row above it may have come from another client.
   */
  readonly readFrom: number
  /** Offsets from `next` on whose every row is quarantined: such a row does not account for them. In order. */
  readonly quarantined: readonly number[]
  /** Consecutive dead letters just below `next`. */
  readonly deadInARow: number
}

/** With what the group and the log said at the same moment. */
export interface Recovered extends Resume {
  readonly committed: Committed | undefined
  /** First offset that the log holds. */
  readonly start: number
}

/** The first gap, and the ranges above it. */
type Gap = Pick<Resume, 'next' | 'above'>

const POLL_MS = 50
/** BATCH_MAX_EVENTS is at most so many. */
const MOST_OFFSETS_OF_A_BATCH = 1_000_000
export const FORGED: string = 'a row was forged (docs/runbooks/forged-rows.md)'

/**
 * Waits until no insert of an earlier owner can land any more, then finds where the tables end.
 * @throws IntegrityError `LOG_TRUNCATED` if the log no longer holds the next offset, `LOG_REPLACED` if the tables do not
 * belong to this log.
 */
export async function recover(assignment: Assignment, sink: Sink, options: RecoverOptions): Promise<Recovered> {
  let committed = (await assignment.position()).committed
  for (;;) {
    const { state } = readMetadata(committed?.metadata)
    await waitForOwnersBefore(assignment, sink, state, options)
    const from = scanFrom(state, committed?.offset)
    const quarantined = await sink.quarantined(assignment)
    // Read the notes after the tables. Retention notes first and drops then: if the notes were read before, it could do both in
    // between, and the dropped offsets would seem never to have been stored.
    const stored = await sink.accounted(assignment, from)
    const ranges = union([...stored, ...(await sink.expired(assignment, from))])
    const [lowest] = quarantined
    const covering = lowest === undefined ? [] : await sink.expired(assignment, lowest)
    // Read the log's bounds after the tables. If they were read before: a fenced owner that has not noticed stores a record
    // that was appended in between, and the table seems to reach beyond the log.
    const now = await assignment.position()
    const findings = { ...now, state, ranges, quarantined: outside(quarantined, union(covering)) }
    if (isSame(committed, now.committed)) return conclude(assignment, findings, sink, options)
    // The committed offset has changed: another owner took the partition and wrote, or an operator reset the offset. The
    // commit and the tables are of different moments, and comparing them would raise a false alarm. In the first case the
    // assignment ends soon.
    committed = now.committed
  }
}

/** The same offsets in ascending ranges with gaps between them. */
function union(ranges: readonly OffsetRange[]): OffsetRange[] {
  const joined: { first: number; last: number }[] = []
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = joined.at(-1)
    if (before === undefined || first > before.last + 1) joined.push({ first, last })
    else before.last = Math.max(before.last, last)
  }
  return joined
}

async function waitForOwnersBefore(
  assignment: Assignment,
  sink: Sink,
  state: FenceState,
  options: RecoverOptions,
): Promise<void> {
  const joinedAt = await sink.now()
  // The order matters. Clock first: from then on the server refuses every insert of an earlier owner. Process list second: an
  // insert that the server accepted before may still be writing. Tables last: now they hold every row that will ever land.
  if (state.kind === 'clean') return
  const fencedAt = state.kind === 'busy' ? state.fencedAt : joinedAt
  await waitForClock(sink, fencedAt + options.leaseMs + options.marginMs, options)
  while ((await sink.runningInserts(assignment)) > 0) await options.sleep(POLL_MS)
}

/** The findings, all of one moment. */
interface Findings {
  readonly committed: Committed | undefined
  readonly start: number
  readonly end: number
  readonly state: FenceState
  readonly ranges: readonly OffsetRange[]
  /** Offsets whose every row is quarantined, and that no expiry note covers, in order: accounted for no more. */
  readonly quarantined: readonly number[]
}

async function conclude(
  assignment: Assignment,
  found: Findings,
  sink: Sink,
  options: RecoverOptions,
): Promise<Recovered> {
  const { committed, start, end, state, quarantined } = found
  const base = state.kind === 'unknown' || committed === undefined ? start : committed.offset
  const ranges = without(
    found.ranges,
    quarantined.filter((offset) => offset >= base),
  )
  const reached = findGap(ranges, base)
  expectCommittedRow(assignment, ranges, base, start)
  checkSanity(assignment, reached, state, committed?.offset, { start, end })
  const gap = reopen(
    reached,
    quarantined.filter((offset) => offset >= start && offset < base),
  )
  const readFrom = Math.min(gap.next, Math.max(start, compareFrom(state, base, gap.next)))
  const deadInARow = await sink.deadInARow(assignment, gap.next, options.limits.maxDeadInARow)
  const stillQuarantined = quarantined.filter((offset) => offset >= gap.next)
  return { ...gap, readFrom, quarantined: stillQuarantined, deadInARow, committed, start }
}

// What the last owner cannot have left is compared: after "clean" nothing, after "busy" what lies above its commit. Without
// metadata it may have left one batch above a gap that a forged row has filled since.
function compareFrom(state: FenceState, base: number, next: number): number {
  if (state.kind === 'unknown') return next - MOST_OFFSETS_OF_A_BATCH
  return state.kind === 'busy' ? Math.min(base, next - 1) : next - 1
}

/** @param offsets - In order. */
function without(ranges: readonly OffsetRange[], offsets: readonly number[]): readonly OffsetRange[] {
  if (offsets.length === 0) return ranges
  const left: OffsetRange[] = []
  let index = 0
  for (const { first, last } of ranges) {
    let from = first
    for (; (offsets[index] ?? Number.POSITIVE_INFINITY) <= last; index++) {
      const offset = offsets[index] ?? first
      if (offset < from) continue
      if (offset > from) left.push({ first: from, last: offset - 1 })
      from = offset + 1
    }
    if (from <= last) left.push({ first: from, last })
  }
  return left
}

/** @param offsets - In order. */
function outside(offsets: readonly number[], ranges: readonly OffsetRange[]): number[] {
  let index = 0
  return offsets.filter((offset) => {
    while ((ranges[index]?.last ?? Number.POSITIVE_INFINITY) < offset) index++
    return (ranges[index]?.first ?? Number.POSITIVE_INFINITY) > offset
  })
}

/** Goes back to the lowest of the offsets, which were accounted for until their rows were quarantined. */
function reopen({ next, above }: Gap, offsets: readonly number[]): Gap {
  const [first] = offsets
  if (first === undefined) return { next, above }
  return { next: first, above: [...without([{ first, last: next - 1 }], offsets), ...above] }
}

function isSame(one: Committed | undefined, other: Committed | undefined): boolean {
  return one?.offset === other?.offset && one?.metadata === other?.metadata
}

// Below a committed offset with our metadata every offset is accounted for. Without it (an operator's reset, an expired group)
// the offset says nothing, and the whole partition is searched.
function scanFrom(state: FenceState, committed: number | undefined): number {
  return state.kind === 'unknown' || committed === undefined ? 0 : Math.max(0, committed - 1)
}

/** @param base - Offset below which every offset is accounted for, or the log holds no record. */
function findGap(ranges: readonly OffsetRange[], base: number): Gap {
  const [lowest, ...above] = ranges
  if (lowest === undefined || lowest.first > base) return { next: base, above: ranges }
  return { next: lowest.last + 1, above }
}

// A commit with our metadata came after the rows below it were stored: a table with neither the last of them nor a note of its
// expiry is another table, or an older copy. At the start of the log there may be no such row.
function expectCommittedRow(assignment: Assignment, ranges: readonly OffsetRange[], base: number, start: number): void {
  if (base <= start || (ranges[0]?.first ?? base) < base) return
  const where = `${assignment.topic}/${assignment.partition}`
  const missing = `the group has committed offset ${base} of ${where}, but the table has no row at ${base - 1}, nor an expiry note`
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
    throw new IntegrityError('LOG_REPLACED', `${ends}: the log was cut or replaced, or ${FORGED}`)
  }
  if (state.kind !== 'clean') return
  if (committed !== next || above.length > 0) {
    const found = `the table goes on at ${next}${above.length > 0 ? `, with rows from ${above[0]?.first}` : ''}`
    throw new IntegrityError('LOG_REPLACED', `${where} was left clean at offset ${committed}, but ${found}: ${FORGED}?`)
  }
}

/** Waits until the server's clock has passed `time`. Local clocks play no part. The server's clock may be stepped. */
async function waitForClock(sink: Sink, time: number, options: Pick<RecoverOptions, 'sleep'>): Promise<void> {
  for (;;) {
    const left = time - (await sink.now())
    if (left < 0) return
    await options.sleep(Math.min(left + 1, 1000))
  }
}
