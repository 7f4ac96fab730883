/** What a search in the log says of missing and changed records, in words and places. */
import type { Range } from '../../verify/ranges.ts'
import { placeOfRun } from '../seal-log/chains.ts'
import type { Findings, Place } from '../findings.ts'
import { type KeptPartition, type LogSearch, sealKey } from './log-search.ts'
import type { BookedProducerSeal } from '../seal-log/seal-book.ts'
import type { LogContest, LogRecordPlace, SoughtSeal } from './sought-seal.ts'

const NOT_STORED = 'sealed by the producer and not stored'
const WHY_NOT_STORED =
  'in the log and not in the table: the consumer has not stored it, or the row was removed or changed'
const MAX_PARTITIONS = 8

export interface MissingRange extends Range {
  readonly text: string
  /** In the log. */
  readonly place: Place
}

/** Where one number lies. */
interface Found {
  readonly seq: number
  /** Undefined: the log does not have it, or was not asked. */
  readonly at: LogRecordPlace | undefined
  /** Of a range of numbers, the last place. */
  readonly note: string
}

/** Missing numbers, ascending, as ranges of which one sentence is true. */
export function missingRanges(
  seal: BookedProducerSeal,
  numbers: readonly number[],
  search: LogSearch | undefined,
): MissingRange[] {
  const sought = search?.seals.get(sealKey(seal))
  const absent = absentText(search?.kept.get(seal.topic), sought)
  const groups: Found[][] = []
  for (const seq of numbers) {
    const found = foundOf(seq, sought, absent)
    const before = groups.at(-1)?.at(-1)
    if (before !== undefined && isNext(before, found)) groups.at(-1)?.push(found)
    else groups.push([found])
  }
  return groups.flatMap((group) => rangeOf(group))
}

function foundOf(seq: number, sought: SoughtSeal | undefined, absent: string): Found {
  const records = sought?.inLog(seq) ?? []
  const contest = sought?.contests.find((one) => one.seq === seq)
  const own = contest?.own
  const at = records.find((one) => one === own) ?? records[0]
  if (at === undefined) return { seq, at, note: absent }
  const others = records.filter((one) => one !== at).map(nameInLog)
  if (contest === undefined) {
    const several = others.length === 0 ? '' : `, or ${others.join(' or ')}`
    return { seq, at, note: `${several}; whether it is the producer's own its seal cannot say: it lacks other records` }
  }
  return {
    seq,
    at,
    note: others.length === 0 ? '' : `; the producer's seal says that this is its own, and not ${others.join(', ')}`,
  }
}

function isNext(before: Found, { seq, at, note }: Found): boolean {
  if (before.seq + 1 !== seq || before.note !== note) return false
  if (at === undefined || before.at === undefined) return at === before.at
  return before.at.partition === at.partition && before.at.offset + 1 === at.offset
}

function rangeOf(group: readonly Found[]): MissingRange[] {
  const [first, last] = [group[0], group.at(-1)]
  if (first === undefined || last === undefined) return []
  const range = { first: first.seq, last: last.seq }
  if (first.at === undefined || last.at === undefined) {
    return [{ ...range, text: `${NOT_STORED}${first.note}`, place: {} }]
  }
  const { topic, partition: key, offset } = first.at
  const [log_id = '', partition] = key.split('/')
  const offsets = offset === last.at.offset ? `offset ${offset}` : `offsets ${offset} to ${last.at.offset}`
  const text = `${NOT_STORED}: ${topic}/${partition} ${offsets}${first.note}: ${WHY_NOT_STORED}`
  const place = { log_id, partition: Number(partition), first_offset: offset, last_offset: last.at.offset }
  return [{ ...range, text, place }]
}

/** Why the log does not have a record. */
function absentText(kept: readonly KeptPartition[] | undefined, sought: SoughtSeal | undefined): string {
  if (sought === undefined || kept === undefined) return ''
  const cut = kept.filter(({ start }) => start > 0)
  if (cut.length === 0) return `: the log of ${sought.seal.topic}, which is whole, does not have it either`
  const starts = cut.slice(0, MAX_PARTITIONS).map(({ partition, start }) => `partition ${partition} at ${start}`)
  return `: the log of ${sought.seal.topic} does not have it (any more): of what has expired it begins ${starts.join(', ')}`
}

/** Numbers of which tables and log together say which record is the producer's own, and the tables do not have just that. */
export function reportLogged({ seal, contests }: SoughtSeal, decided: Set<string>, findings: Findings): void {
  for (const contest of contests) {
    decided.add(`${seal.runId}:${contest.seq}`)
    const stored = contest.others.filter((one) => 'kind' in one)
    // Not stored under its number: that is a missing record.
    if (stored.length === 0 && !contest.isStored) continue
    const { placed } = contest
    const first = stored[0] ?? contest.others[0]
    const at = placed ?? first
    const isSame =
      placed !== undefined && placed.partition === contest.own.partition && placed.offset === contest.own.offset
    const others = contest.others.map((one) =>
      one === first && placed !== undefined ? nameOf({ ...one, ...placed }) : nameOf(one),
    )
    const why = isSame ? 'its row was changed' : contest.isStored ? '' : 'a foreign record is stored in its place'
    const message = `the producer's own record is ${nameOf(contest.own)}; not its own: ${others.join(', ')}${why === '' ? '' : `: ${why}`}`
    findings.add('tampering', isSame ? 'records-changed' : 'conflict-decided', message, placeOf(seal, contest, at))
  }
}

function nameOf(one: LogContest['own']): string {
  if (!('kind' in one)) return nameInLog(one)
  return one.offset < 0 ? `the ${one.kind}` : `the ${one.kind} at ${one.partition}/${one.offset}`
}

function nameInLog({ topic, partition, offset }: LogRecordPlace): string {
  return `the record in the log at ${topic}/${partition.split('/')[1]} offset ${offset}`
}

function placeOf(
  seal: BookedProducerSeal,
  { seq }: LogContest,
  at: { readonly partition: string; readonly offset: number } | undefined,
): Place {
  const place = { ...placeOfRun(seal), first_run_seq: seq, last_run_seq: seq }
  if (at === undefined || at.offset < 0) return place
  const [log_id = '', partition] = at.partition.split('/')
  return { ...place, log_id, partition: Number(partition), first_offset: at.offset, last_offset: at.offset }
}
