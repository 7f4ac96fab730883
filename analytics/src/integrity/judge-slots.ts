/** After the pass: which seals of producers have the records that they say. */
import type { Findings, Place } from './findings.ts'
import { placeOfRun } from './chains.ts'
import type { Contest, LeafSlots } from './leaf-slots.ts'
import type { RunSeals } from './run-seals.ts'

export interface JudgedSlots {
  /** Seals whose digest cannot be made: records are missing. */
  readonly unmade: number
  /** Numbers of which the seal says which record is the run's own, as `<run>:<seq>`. */
  readonly decided: ReadonlySet<string>
}

/** @param whole - Whether all rows were read: else records may lie in other partitions. */
export function judgeSlots(runs: RunSeals, findings: Findings, whole: boolean): JudgedSlots {
  let unmade = 0
  const decided = new Set<string>()
  for (const slots of runs.allSlots()) {
    const contests = slots.decide()
    for (const contest of contests) report(slots, contest, decided, findings)
    if (slots.state === 'wrong') changed(slots, contests, findings)
    if (slots.state !== 'open') continue
    unmade++
    if (whole) missing(slots, runs, findings)
  }
  return { unmade, decided }
}

function report({ seal }: LeafSlots, { seq, own, others }: Contest, decided: Set<string>, findings: Findings): void {
  if (own === undefined) return
  decided.add(`${seal.runId}:${seq}`)
  const foreign = others.map(name).join(', ')
  const stored = own.kind === 'event' ? '' : ': a foreign record is stored in its place'
  const message = `the producer's own record is ${name(own)}; not its own: ${foreign}${stored}`
  findings.add('tampering', 'conflict-decided', message, placeOfNumber(seal, seq, others[0] ?? own))
}

function name({ kind, partition, offset }: Contest['others'][number]): string {
  return offset < 0 ? 'the event' : `the ${kind} at ${partition}/${offset}`
}

function placeOfNumber(seal: LeafSlots['seal'], seq: number, at: { partition: string; offset: number }): Place {
  const place = { run_id: seal.runId, producer_id: seal.producerId, first_run_seq: seq, last_run_seq: seq }
  if (at.offset < 0) return place
  const [log_id = '', partition] = at.partition.split('/')
  return { ...place, log_id, partition: Number(partition), first_offset: at.offset, last_offset: at.offset }
}

function changed(slots: LeafSlots, contests: readonly Contest[], findings: Findings): void {
  const spans = [...slots.spans].map(([partition, [first, last]]) => `${partition} offsets ${first} to ${last}`)
  const tried = contests.length === 0 ? '' : '; no choice among the records of a number gives its digest'
  const message = `not the records that the producer has sealed: ${spans.join(', ')}${tried}`
  const [only, ...more] = slots.spans
  const [log_id = '', partition] = only?.[0].split('/') ?? []
  const offsets =
    only === undefined || more.length > 0
      ? {}
      : { log_id, partition: Number(partition), first_offset: only[1][0], last_offset: only[1][1] }
  findings.add('tampering', 'records-changed', message, { ...placeOfRun(slots.seal), ...offsets })
}

function missing(slots: LeafSlots, runs: RunSeals, findings: Findings): void {
  const { seal } = slots
  const undelivered = runs.undelivered(seal.runId)
  const left = slots.missing().filter((seq) => !undelivered.some(({ first, last }) => seq >= first && seq <= last))
  for (const { first, last } of rangesOf(left)) {
    const place = { ...placeOfRun(seal), first_run_seq: first, last_run_seq: last }
    findings.add('incomplete', 'records-missing', `sealed by the producer and not stored`, place)
  }
}

function rangesOf(numbers: readonly number[]): { first: number; last: number }[] {
  const ranges: { first: number; last: number }[] = []
  for (const number of numbers) {
    const before = ranges.at(-1)
    if (before !== undefined && before.last === number - 1) before.last = number
    else ranges.push({ first: number, last: number })
  }
  return ranges
}
