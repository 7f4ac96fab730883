/** Fields that the seals of producers and consumers have in common. */
import { invalid, type LineReader } from '../notes/lines.ts'

const TOPIC = /^[a-zA-Z0-9._-]{1,249}$/
const HASH_BYTES = 32

/** Whether a value is a count, an offset or a run_seq. */
export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

export function topicFault(topic: string): string | undefined {
  return TOPIC.test(topic) ? undefined : 'expected a topic of 1 to 249 letters, digits, ".", "_" and "-"'
}

export function hashFault(name: string, hash: Uint8Array): string | undefined {
  return hash.length === HASH_BYTES ? undefined : `expected ${HASH_BYTES} bytes of ${name}, found ${hash.length}`
}

export function hashLine(head: string, hash: Uint8Array): string {
  return `${head} ${Buffer.from(hash.buffer, hash.byteOffset, hash.length).toString('base64')}`
}

/** A line `<tag> <algorithm> <Base64>`. */
export function readHash(lines: LineReader, [tag, algorithm]: readonly [string, string], expected: string): Buffer {
  const [given, text] = lines.fields(tag, 2, expected)
  return given === algorithm ? lines.hash(text, expected) : lines.fail(expected)
}

const PREV = '"prev sha256 <Base64 of 32 bytes>" or "prev none"'

export function prevLine(prev: Uint8Array | undefined): string {
  return prev === undefined ? 'prev none' : hashLine('prev sha256', prev)
}

export function readPrev(lines: LineReader): Buffer | undefined {
  const line = lines.line(PREV)
  if (line === 'prev none') return undefined
  const text = line.startsWith('prev sha256 ') ? line.slice('prev sha256 '.length) : lines.fail(PREV)
  return lines.hash(text, PREV)
}

/** @throws IntegrityError with code SEAL_INVALID */
export function refuse(what: string, fault: string | undefined): void {
  if (fault !== undefined) throw invalid(`${what}: ${fault}`)
}
