/** What a signer signs: the next seal of a run, or of a partition for a consumer, and no other text. */
import { createHash } from 'node:crypto'
import { noteHash, parseNote } from '../notes/note.ts'
import { keyNameOf } from '../notes/verifier-key.ts'
import { type ConsumerSeal, parseConsumerSeal } from '../seals/consumer-seal.ts'
import { parseProducerSeal, type ProducerSeal } from '../seals/producer-seal.ts'
import type { SignedRun } from './signed-runs.ts'

/** Whose seals a signer signs. */
export type SignerRole = 'producer' | 'consumer'

/** A seal that is to be signed. */
export interface SealRequest {
  /** What is signed in order, by its name in the state file and in messages: a run, or a partition. */
  readonly chain: string
  readonly title: string
  /** What is kept of it, beside the note. */
  readonly kept: Omit<SignedRun, 'note'>
  /** The clock of the caller, milliseconds since 1970; a consumer's seal has none. */
  readonly time: number | undefined
  /** Why it is not signed; undefined: it is the next one. @param before - Undefined: nothing was signed of the chain before. */
  refusal(before: SignedRun | undefined): string | undefined
}

/**
 * @param keyName - Of the signer's key.
 * @throws IntegrityError with code SEAL_INVALID, if the text is no seal of that role
 */
export function readRequest(text: string, role: SignerRole, keyName: string): SealRequest {
  return role === 'consumer' ? ofConsumer(parseConsumerSeal(text)) : ofProducer(parseProducerSeal(text), keyName)
}

function ofProducer(seal: ProducerSeal, keyName: string): SealRequest {
  const { runId, number, last, state, time } = seal
  return {
    chain: runId,
    title: `run ${runId}`,
    kept: { number, last, state: state.kind },
    time,
    refusal: (run) => refusalOf(seal, keyName, run),
  }
}

function ofConsumer(seal: ConsumerSeal): SealRequest {
  const { logId, topic, partition, last } = seal
  return {
    chain: `log ${logId} ${topic} partition ${partition}`,
    title: `partition ${topic}/${partition}`,
    // Its place in the order is its range.
    kept: { number: 0, last, state: 'open' },
    time: undefined,
    refusal: (before) => refusalOfRange(seal, before),
  }
}

/** Other consumers may have sealed what lies between two ranges, and a chain may begin anew. */
function refusalOfRange(seal: ConsumerSeal, before: SignedRun | undefined): string | undefined {
  if (before === undefined) return undefined
  const next = before.last + 1
  if (seal.first < next) return `expected a range that begins at ${next} or above: the offsets below are sealed`
  const hash = createHash('sha256').update(parseNote(before.note).text).digest()
  const follows = seal.first > next || seal.prev === undefined || seal.prev.equals(hash)
  return follows ? undefined : 'expected the hash of the text of the seal before it in the line prev'
}

/**
 * Why a seal is not signed; undefined: it is the next one of its run.
 * @param keyName - Of the signer's key.
 * @param run - What was signed of the seal's run before; undefined: nothing.
 */
function refusalOf(seal: ProducerSeal, keyName: string, run: SignedRun | undefined): string | undefined {
  const adopted = seal.state.kind === 'adopted'
  if (!adopted && keyNameOf(seal.producerId) !== keyName) return `expected the producer ${keyName}`
  if (run === undefined) {
    // The seals before may be of another signer's key: this run is dead, and its next owner signs the rest.
    if (adopted) return undefined
    return seal.number === 0 && seal.first === 0
      ? undefined
      : 'expected number 0 and a range that begins at 0: this signer has signed no seal of the run'
  }
  if (seal.number <= run.number || seal.first <= run.last) {
    return `expected number ${run.number + 1} and a range that begins at ${run.last + 1}: the seals before are signed`
  }
  if (seal.number !== run.number + 1 || seal.first !== run.last + 1) {
    return `expected number ${run.number + 1} and a range that begins at ${run.last + 1}: it must touch the last`
  }
  if (run.state !== 'open' && !adopted) return `expected no further seal of its own: the run is ${run.state}`
  if (seal.prev?.equals(noteHash(run.note)) !== true) return 'expected the hash of the seal before it in the line prev'
  return undefined
}

/** Whether a text is the one that was signed last: its answer was lost. */
export function isRepeat(text: string, run: SignedRun): boolean {
  return parseNote(run.note).text === text
}
