/** The text of a producer's seal. docs/integrity.md says what each line means. */
import { LineReader } from '../notes/lines.ts'
import { idOfKeyName, keyNameOf } from '../notes/verifier-key.ts'
import { hashFault, hashLine, isCount, prevLine, readHash, readPrev, refuse, topicFault } from './fields.ts'

/** Consecutive numbers, both ends included. */
export interface Range {
  readonly first: number
  readonly last: number
}

export type SealState =
  | { readonly kind: 'open' | 'closed' }
  /** The run was dead: another run sealed its tail. `by`: that run, 32 hex digits. */
  | { readonly kind: 'adopted'; readonly by: string }

export interface ProducerSeal {
  /** Topic of the events. */
  readonly topic: string
  /** As in the records: not encoded. */
  readonly producerId: string
  /** 32 hex digits. */
  readonly runId: string
  /** Counts the seals of the run from 0. */
  readonly number: number
  /** run_seqs. A heartbeat has no records: `last` is `first - 1`. */
  readonly first: number
  readonly last: number
  /** Records in the digest: the range without its gaps. */
  readonly count: number
  /** Fingerprint of the schema of all records in it, 16 hex digits. */
  readonly schema: string
  /** SHA-256 over the leaves, back to back. */
  readonly digest: Buffer
  /** run_seqs of the range that no record of this run has. Ascending, apart from each other. */
  readonly gaps: readonly Range[]
  /** run_seqs of this or an earlier seal that never reach the topic, and the error code. Ascending. */
  readonly undelivered: readonly (Range & { readonly code: string })[]
  /** SHA-256 of the whole note before it in this run. Undefined for number 0. */
  readonly prev: Buffer | undefined
  /** The producer's clock, milliseconds since 1970. */
  readonly time: number
  readonly state: SealState
}

/** Most lines `gap` and `undelivered` of one seal together: it fits in a leaf of the seal log even so. */
export const MAX_SEAL_RANGES = 512

const HEAD = 'audit-seal/v1 producer'
const LINES = {
  head: `"${HEAD}"`,
  topic: '"topic <topic>"',
  producer: '"producer <percent-encoded producer_id>"',
  run: '"run <32 hex digits>"',
  number: '"number <n>"',
  range: '"range <first> <last>" with last >= first - 1',
  count: '"count <n>"',
  schema: '"schema <16 hex digits>"',
  digest: '"digest list-sha256 <Base64 of 32 bytes>"',
  gap: '"gap <first> <last>"',
  undelivered: '"undelivered <first> <last> <CODE>"',
  time: '"time <YYYY-MM-DDThh:mm:ss.sssZ>"',
  state: '"state open", "state closed" or "state adopted <32 hex digits>"',
} as const

/** @throws IntegrityError with code SEAL_INVALID, if the seal contradicts itself */
export function formatProducerSeal(seal: ProducerSeal): string {
  check(seal)
  const { state } = seal
  const lines = [
    HEAD,
    `topic ${seal.topic}`,
    `producer ${keyNameOf(seal.producerId)}`,
    `run ${seal.runId}`,
    `number ${seal.number}`,
    `range ${seal.first} ${seal.last}`,
    `count ${seal.count}`,
    `schema ${seal.schema}`,
    hashLine('digest list-sha256', seal.digest),
    ...seal.gaps.map(({ first, last }) => `gap ${first} ${last}`),
    ...seal.undelivered.map(({ first, last, code }) => `undelivered ${first} ${last} ${code}`),
    prevLine(seal.prev),
    `time ${new Date(seal.time).toISOString()}`,
    state.kind === 'adopted' ? `state adopted ${state.by}` : `state ${state.kind}`,
  ]
  return `${lines.join('\n')}\n`
}

/** @throws IntegrityError with code SEAL_INVALID, that names the line and what is expected there */
export function parseProducerSeal(text: string): ProducerSeal {
  const lines = new LineReader('producer seal', text)
  if (lines.line(LINES.head) !== HEAD) lines.fail(LINES.head)
  const topic = lines.fields('topic', 1, LINES.topic)[0]
  if (topicFault(topic) !== undefined) lines.fail(LINES.topic)
  const producerId = idOfKeyName(lines.fields('producer', 1, LINES.producer)[0]) ?? lines.fail(LINES.producer)
  const runId = lines.hex(lines.fields('run', 1, LINES.run)[0], 32, LINES.run)
  const number = lines.integer(lines.fields('number', 1, LINES.number)[0], LINES.number)
  const { first, last } = readRange(lines)
  const count = lines.integer(lines.fields('count', 1, LINES.count)[0], LINES.count)
  const schema = lines.hex(lines.fields('schema', 1, LINES.schema)[0], 16, LINES.schema)
  const digest = readHash(lines, ['digest', 'list-sha256'], LINES.digest)
  const gaps: Range[] = []
  while (lines.has('gap')) gaps.push(readGap(lines, gaps.at(-1), { first, last }))
  const undelivered: ProducerSeal['undelivered'][number][] = []
  while (lines.has('undelivered')) undelivered.push(readUndelivered(lines, undelivered.at(-1), last))
  const prev = readPrev(lines)
  const time = readTime(lines)
  const state = readState(lines)
  lines.end()
  const seal = { topic, producerId, runId, number, first, last, count, schema, digest, gaps, undelivered, prev, time }
  check({ ...seal, state })
  return { ...seal, state }
}

function readRange(lines: LineReader): Range {
  const [from, to] = lines.fields('range', 2, LINES.range)
  const first = lines.integer(from, LINES.range)
  const last = to === '-1' ? -1 : lines.integer(to, LINES.range)
  return last >= first - 1 ? { first, last } : lines.fail(LINES.range)
}

function readGap(lines: LineReader, before: Range | undefined, range: Range): Range {
  const [from, to] = lines.fields('gap', 2, LINES.gap)
  const gap = { first: lines.integer(from, LINES.gap), last: lines.integer(to, LINES.gap) }
  const fault = gapFault(gap, before, range)
  return fault === undefined ? gap : lines.fail(fault)
}

function readUndelivered(lines: LineReader, before: Range | undefined, end: number): Range & { code: string } {
  const [from, to, code] = lines.fields('undelivered', 3, LINES.undelivered)
  const range = { first: lines.integer(from, LINES.undelivered), last: lines.integer(to, LINES.undelivered), code }
  const fault = undeliveredFault(range, before, end)
  return fault === undefined ? range : lines.fail(fault)
}

function readTime(lines: LineReader): number {
  const [text] = lines.fields('time', 1, LINES.time)
  const time = Date.parse(text)
  return isTime(time) && new Date(time).toISOString() === text ? time : lines.fail(LINES.time)
}

function readState(lines: LineReader): SealState {
  const line = lines.line(LINES.state)
  if (line === 'state open') return { kind: 'open' }
  if (line === 'state closed') return { kind: 'closed' }
  const by = /^state adopted ([0-9a-f]{32})$/.exec(line)?.[1] ?? lines.fail(LINES.state)
  return { kind: 'adopted', by }
}

/** Refuses a seal that contradicts itself. */
function check(seal: ProducerSeal): void {
  refuse('producer seal', fieldFault(seal) ?? rangesFault(seal))
}

function fieldFault(seal: ProducerSeal): string | undefined {
  const { number, first, last, prev, state } = seal
  if (seal.producerId === '') return 'expected a producer_id that is not empty'
  if (!/^[0-9a-f]{32}$/.test(seal.runId)) return 'expected a run of 32 hex digits'
  if (!/^[0-9a-f]{16}$/.test(seal.schema)) return 'expected a schema fingerprint of 16 hex digits'
  if (![number, first, seal.count].every(isCount)) return 'expected whole numbers of 0 or more'
  if (!Number.isSafeInteger(last) || last < first - 1) return `expected a range that ends at ${first - 1} or above`
  if ((prev === undefined) !== (number === 0)) return 'expected "prev none" for number 0, and for no other number'
  if (!isTime(seal.time)) return 'expected a time in the years 0 to 9999'
  if (state.kind === 'adopted' && (!/^[0-9a-f]{32}$/.test(state.by) || state.by === seal.runId)) {
    return 'expected the 32 hex digits of another run as the adopter'
  }
  const hashes = hashFault('digest', seal.digest) ?? (prev === undefined ? undefined : hashFault('prev', prev))
  return topicFault(seal.topic) ?? hashes
}

function rangesFault({ first, last, count, gaps, undelivered }: ProducerSeal): string | undefined {
  if (gaps.length + undelivered.length > MAX_SEAL_RANGES) {
    return `expected at most ${MAX_SEAL_RANGES} lines "gap" and "undelivered"`
  }
  const faults = [
    ...gaps.map((gap, index) => gapFault(gap, gaps[index - 1], { first, last })),
    ...undelivered.map((range, index) => undeliveredFault(range, undelivered[index - 1], last)),
  ]
  const fault = faults.find((each) => each !== undefined)
  if (fault !== undefined) return fault
  const records = gaps.reduce((left, gap) => left - sizeOf(gap), sizeOf({ first, last }))
  return count === records ? undefined : `expected "count ${records}", the range without its gaps`
}

function gapFault(gap: Range, before: Range | undefined, range: Range): string | undefined {
  if (!isCount(gap.first) || !isCount(gap.last) || gap.last < gap.first) return `${LINES.gap} with last >= first`
  if (gap.first < range.first || gap.last > range.last) return `a gap within the range ${range.first} ${range.last}`
  if (before !== undefined && gap.first <= before.last + 1)
    return `a gap above ${before.last + 1}: they ascend and do not touch`
  return undefined
}

function undeliveredFault(
  { first, last, code }: Range & { code: string },
  before: Range | undefined,
  end: number,
): string | undefined {
  if (!isCount(first) || !isCount(last) || last < first || !/^[A-Z][A-Z_]{0,63}$/.test(code)) return LINES.undelivered
  if (last > end) return `an undelivered range that ends at ${end} or below`
  if (before !== undefined && first <= before.last) return `an undelivered range above ${before.last}: they ascend`
  return undefined
}

function sizeOf({ first, last }: Range): number {
  return last - first + 1
}

/** The times that have the one form of 24 characters. */
function isTime(time: number): boolean {
  return Number.isInteger(time) && time >= Date.UTC(-1, 12) && time <= Date.UTC(9999, 11, 31, 23, 59, 59, 999)
}
