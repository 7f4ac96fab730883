/** The text of a consumer's seal: it has no time, so that the same range gives the same bytes again. */
import { LineReader } from '../notes/lines.ts'
import { hashFault, isCount, prevLine, readPrev, refuse, topicFault } from './fields.ts'

/** Rows of one table of the range, in the order of their offsets. */
export interface SealedRows {
  readonly count: number
  /** SHA-256 over the Avro rows as they were inserted, back to back. */
  readonly digest: Buffer
}

export interface ConsumerSeal {
  /** 16 hex digits. */
  readonly logId: string
  readonly topic: string
  readonly partition: number
  /** Offsets, both ends included. It touches the range of the seal before. */
  readonly first: number
  readonly last: number
  /** Version of the two row forms. */
  readonly rows: 1
  /** Rows of audit_events and audit_skipped. */
  readonly events: SealedRows
  readonly skipped: SealedRows
  /** SHA-256 of the text of the seal before it of this partition, without its signatures: two owners have different keys. */
  readonly prev: Buffer | undefined
}

const HEAD = 'audit-seal/v1 consumer'
const LINES = {
  head: `"${HEAD}"`,
  log: '"log <16 hex digits> <topic>"',
  partition: '"partition <p>"',
  range: '"range <first> <last>" with last >= first',
  rows: '"rows 1"',
  events: '"events <count> sha256 <Base64 of 32 bytes>"',
  skipped: '"skipped <count> sha256 <Base64 of 32 bytes>"',
} as const

/** @throws IntegrityError with code SEAL_INVALID, if the seal contradicts itself */
export function formatConsumerSeal(seal: ConsumerSeal): string {
  refuse('consumer seal', faultOf(seal))
  const lines = [
    HEAD,
    `log ${seal.logId} ${seal.topic}`,
    `partition ${seal.partition}`,
    `range ${seal.first} ${seal.last}`,
    `rows ${seal.rows}`,
    rowsLine('events', seal.events),
    rowsLine('skipped', seal.skipped),
    prevLine(seal.prev),
  ]
  return `${lines.join('\n')}\n`
}

/** @throws IntegrityError with code SEAL_INVALID, that names the line and what is expected there */
export function parseConsumerSeal(text: string): ConsumerSeal {
  const lines = new LineReader('consumer seal', text)
  if (lines.line(LINES.head) !== HEAD) lines.fail(LINES.head)
  const [log, topic] = lines.fields('log', 2, LINES.log)
  const logId = lines.hex(log, 16, LINES.log)
  if (topicFault(topic) !== undefined) lines.fail(LINES.log)
  const partition = lines.integer(lines.fields('partition', 1, LINES.partition)[0], LINES.partition)
  const [from, to] = lines.fields('range', 2, LINES.range)
  const [first, last] = [lines.integer(from, LINES.range), lines.integer(to, LINES.range)]
  if (last < first) lines.fail(LINES.range)
  if (lines.line(LINES.rows) !== 'rows 1') lines.fail(LINES.rows)
  const events = readRows(lines, 'events')
  const skipped = readRows(lines, 'skipped')
  const prev = readPrev(lines)
  lines.end()
  const seal: ConsumerSeal = { logId, topic, partition, first, last, rows: 1, events, skipped, prev }
  refuse('consumer seal', faultOf(seal))
  return seal
}

function rowsLine(tag: string, { count, digest }: SealedRows): string {
  return `${tag} ${count} sha256 ${digest.toString('base64')}`
}

function readRows(lines: LineReader, tag: 'events' | 'skipped'): SealedRows {
  const expected = LINES[tag]
  const [count, algorithm, digest] = lines.fields(tag, 3, expected)
  if (algorithm !== 'sha256') lines.fail(expected)
  return { count: lines.integer(count, expected), digest: lines.hash(digest, expected) }
}

function faultOf({ logId, topic, partition, first, last, events, skipped, prev }: ConsumerSeal): string | undefined {
  if (!/^[0-9a-f]{16}$/.test(logId)) return 'expected a log_id of 16 hex digits'
  if (![partition, first, last, events.count, skipped.count].every(isCount))
    return 'expected whole numbers of 0 or more'
  if (last < first) return `expected a range that ends at ${first} or above`
  if (events.count > last - first + 1) return `expected at most ${last - first + 1} events, one for each offset`
  const hashes = [events.digest, skipped.digest, ...(prev === undefined ? [] : [prev])]
  return topicFault(topic) ?? hashes.map((hash) => hashFault('hash', hash)).find((each) => each !== undefined)
}
