/** A message of the topic of seals, as a leaf of the seal log: its bytes, and what its text says of itself. */
import { TrailError } from '@agent-audit/schemas'
import { MAX_NOTE_BYTES, parseConsumerSeal, parseNote, parseProducerSeal, readNote } from '@agent-audit/seals'

/** What a row of `audit_seals` says beside the note. A field that a kind of seal does not have is null. */
export interface SealFields {
  /** `unread`: no seal, or one of a later version. It is a leaf all the same: the order of the tree is that of the topic. */
  readonly kind: 'producer' | 'consumer' | 'unread'
  readonly key_name: string
  readonly topic: string
  readonly producer_id: string | null
  /** 32 hex digits. */
  readonly run_id: string | null
  readonly number: number | null
  /** 16 hex digits. */
  readonly log_id: string | null
  readonly log_partition: number | null
  readonly first_number: number | null
  readonly last_number: number | null
}

const UNREAD: SealFields = {
  kind: 'unread',
  key_name: '',
  topic: '',
  producer_id: null,
  run_id: null,
  number: null,
  log_id: null,
  log_partition: null,
  first_number: null,
  last_number: null,
}
/** The column's type is Int32. */
const MAX_PARTITION = 2 ** 31 - 1

/** Whether a message is a leaf: an entry bundle holds 1 to 65,535 bytes. Every notary leaves out the same messages. */
export function isLeaf(value: Buffer | null): value is Buffer {
  return value !== null && value.length > 0 && value.length <= MAX_NOTE_BYTES
}

/** Reads a leaf. Signatures are not judged: the notary's readers have the trust file. */
export function readSeal(bytes: Buffer): SealFields {
  try {
    const { text, signatures } = parseNote(readNote(bytes))
    const keyName = signatures[0]?.keyName ?? ''
    return text.startsWith('audit-seal/v1 producer\n') ? producerFields(text, keyName) : consumerFields(text, keyName)
  } catch (error) {
    if (error instanceof TrailError) return UNREAD
    throw error
  }
}

function producerFields(text: string, keyName: string): SealFields {
  const { topic, producerId, runId, number, first, last } = parseProducerSeal(text)
  return {
    ...UNREAD,
    kind: 'producer',
    key_name: keyName,
    topic,
    producer_id: producerId,
    run_id: runId,
    number,
    first_number: first,
    last_number: last,
  }
}

function consumerFields(text: string, keyName: string): SealFields {
  const { logId, topic, partition, first, last } = parseConsumerSeal(text)
  if (partition > MAX_PARTITION) return UNREAD
  return {
    ...UNREAD,
    kind: 'consumer',
    key_name: keyName,
    topic,
    log_id: logId,
    log_partition: partition,
    first_number: first,
    last_number: last,
  }
}
