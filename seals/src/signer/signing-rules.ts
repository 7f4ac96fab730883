/** What a signer signs: the next seal of a run, and no other text. */
import { noteHash, parseNote } from '../notes/note.ts'
import { keyNameOf } from '../notes/verifier-key.ts'
import type { ProducerSeal } from '../seals/producer-seal.ts'
import type { SignedRun } from './signed-runs.ts'

/**
 * Why a seal is not signed; undefined: it is the next one of its run.
 * @param keyName - Of the signer's key.
 * @param run - What was signed of the seal's run before; undefined: nothing.
 */
export function refusalOf(seal: ProducerSeal, keyName: string, run: SignedRun | undefined): string | undefined {
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
