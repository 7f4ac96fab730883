/** After the pass: which seals of producers have the records that they say. */
import type { Range } from '../../verify/ranges.ts'
import type { Findings, Place } from '../findings.ts'
import { placeOfRun } from '../seal-log/chains.ts'
import type { Contest, LeafSlots, Source } from './leaf-slots.ts'
import { missingRanges, reportLogged } from '../log-search/log-findings.ts'
import { type LogSearch, sealKey } from '../log-search/log-search.ts'
import { missingOf, type RunSeals } from './run-seals.ts'

export interface JudgedSlots {
  /** Seals whose digest cannot be made: records are missing. */
  readonly unmade: number
  /** Seals whose records may still come. */
  readonly waiting: number
  /** Numbers of which the seal says which record is the run's own, as `<run>:<seq>`. */
  readonly decided: ReadonlySet<string>
}

export interface SlotOptions {
  /** Whether records of a seal may lie in rows that were not read. */
  readonly partial: boolean
  /** Whether completeness was checked, which names repeated numbers. */
  readonly complete: boolean
  /** Milliseconds since 1970: a seal that came later may be here before its records. */
  readonly settledMs: number
  /** Numbers that expiry notes name, by run. */
  readonly expired: ReadonlyMap<string, readonly Range[]>
  /** Undefined: the log was not asked. */
  readonly search: LogSearch | undefined
}

export function judgeSlots(runs: RunSeals, findings: Findings, options: SlotOptions): JudgedSlots {
  let [unmade, waiting] = [0, 0]
  const decided = new Set<string>()
  for (const slots of runs.allSlots()) {
    const contests = slots.decide()
    for (const contest of contests) report(slots, contest, decided, findings)
    if (!options.complete)
      for (const { seq, source } of slots.repeats) repeated(slots.seal.runId, seq, source, findings)
    const sought = options.search?.seals.get(sealKey(slots.seal))
    if (sought?.isDecided === true) reportLogged(sought, decided, findings)
    else if (slots.state === 'wrong') changed(slots, contests, findings)
    if (slots.state !== 'open') continue
    const { anchoredMs, time } = slots.seal
    if (options.settledMs <= (anchoredMs ?? time)) {
      waiting++
      continue
    }
    unmade++
    const noted = options.expired.get(slots.seal.runId) ?? []
    const explained = [...runs.undelivered(slots.seal.runId), ...noted]
    if (!options.partial) missing(slots, explained, { search: options.search, findings })
  }
  for (const { runId, seq, source } of runs.repeats) repeated(runId, seq, source, findings)
  return { unmade, waiting, decided }
}

function repeated(run_id: string, seq: number, { partition: key, offset }: Source, findings: Findings): void {
  const [log_id = '', partition] = key.split('/')
  const at = { log_id, partition: Number(partition), first_offset: offset, last_offset: offset }
  const place = { run_id, first_run_seq: seq, last_run_seq: seq, ...at }
  findings.add('tampering', 'row-repeated', 'another row has its number already', place)
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

function missing(
  slots: LeafSlots,
  explained: readonly Range[],
  { search, findings }: { readonly search: LogSearch | undefined; readonly findings: Findings },
): void {
  const { seal } = slots
  for (const { first, last, text, place } of missingRanges(seal, missingOf(slots, explained), search)) {
    const numbers = { ...placeOfRun(seal), first_run_seq: first, last_run_seq: last }
    findings.add('incomplete', 'records-missing', text, { ...numbers, ...place })
  }
}
