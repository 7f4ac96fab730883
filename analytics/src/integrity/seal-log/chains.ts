/** The chain of seals of each run, and of each partition: numbers, hashes of the seal before, ranges, ends. */
import type { BookedConsumerSeal, BookedProducerSeal } from './seal-book.ts'
import type { TakenRun, TakenSeal } from '../increments/taken-over.ts'
import type { Findings, Place } from '../findings.ts'

/**
 * The seals of a run, each once, in order. Ranges ascend; numbers between two of them may be unsealed, after a restart without a
 * spool.
 * @param taken - The last seal that an earlier run of verify has found right: the chain goes on from it.
 */
export function chainOfRun(
  seals: readonly BookedProducerSeal[],
  findings: Findings,
  taken?: TakenRun,
): BookedProducerSeal[] {
  const chain: BookedProducerSeal[] = []
  // A note of the same text is the same seal, by another key perhaps: the next one may name either.
  let hashes: Buffer[] = taken === undefined ? [] : [taken.hash]
  for (const seal of seals.toSorted((a, b) => a.number - b.number || a.leaf - b.leaf)) {
    const before = chain.at(-1) ?? taken
    // Read before, and read again as its neighbours were not complete then.
    if (taken !== undefined && seal.number < taken.number && seal.leaf < taken.readTo) continue
    if (taken !== undefined && seal.number < taken.number) {
      const message = `the run has two seals of number ${seal.number}: one of them was verified before`
      wrong(findings, 'seal-forked', message, placeOfRun(seal))
      continue
    }
    if (before?.number === seal.number) {
      if (before.textHash.equals(seal.textHash)) hashes.push(seal.hash)
      else wrong(findings, 'seal-forked', `the run has two seals of number ${seal.number}`, placeOfRun(seal))
      continue
    }
    const expected = before === undefined ? 0 : before.number + 1
    if (seal.number !== expected) {
      const missing = `the run's seals ${expected} to ${seal.number - 1} are missing, seal ${seal.number} is there`
      wrong(findings, 'seal-missing', missing, placeOfRun(seal))
    } else checkLink(before, seal, hashes, findings)
    chain.push(seal)
    hashes = [seal.hash]
  }
  return chain
}

function checkLink(
  before: BookedProducerSeal | TakenRun | undefined,
  seal: BookedProducerSeal,
  hashes: readonly Buffer[],
  findings: Findings,
): void {
  if (before === undefined) return
  const place = placeOfRun(seal)
  const say = (message: string): void => wrong(findings, 'seal-out-of-chain', `seal ${seal.number}: ${message}`, place)
  if (!hashes.some((hash) => seal.prev?.equals(hash) === true)) say(`it does not continue seal ${before.number}`)
  if (seal.first <= before.last)
    say(`its range begins at ${seal.first}, and seal ${before.number} ends at ${before.last}`)
  if (before.state.kind !== 'open' && seal.state.kind !== 'adopted') say('the run had ended before it')
  if (before.topic !== seal.topic || before.producerId !== seal.producerId) say('it is of another topic or producer')
}

/** The seals of a partition, each once, by rising offsets. @param taken - As that of {@link chainOfRun}. */
export function chainOfPartition(
  seals: readonly BookedConsumerSeal[],
  findings: Findings,
  taken?: TakenSeal,
): BookedConsumerSeal[] {
  const chain: BookedConsumerSeal[] = []
  for (const seal of seals.toSorted((a, b) => a.first - b.first || a.last - b.last || a.leaf - b.leaf)) {
    const before = chain.at(-1) ?? taken
    if (taken !== undefined && seal.last <= taken.last && seal.leaf < taken.readTo) continue
    if (before?.textHash.equals(seal.textHash) === true) continue
    if (before !== undefined && seal.first <= before.last) {
      const twice = `two seals cover offset ${seal.first} and do not agree`
      wrong(findings, 'seal-forked', twice, placeOfPartition(seal))
      continue
    }
    // `prev none` begins a new chain: the consumer before had no key, or the end of its chain was not known.
    if (seal.prev !== undefined && before?.textHash.equals(seal.prev) !== true) {
      const missing = 'the seal before it, which it names, is missing'
      wrong(findings, 'seal-missing', missing, placeOfPartition(seal))
    } else if (before !== undefined && seal.prev !== undefined && seal.first !== before.last + 1) {
      const apart = `it begins at ${seal.first}, and the seal before it ends at ${before.last}`
      wrong(findings, 'seal-out-of-chain', apart, placeOfPartition(seal))
    }
    chain.push(seal)
  }
  return chain
}

export function placeOfRun({ leaf, runId, producerId, first, last }: BookedProducerSeal): Place {
  return { leaf, run_id: runId, producer_id: producerId, first_run_seq: first, last_run_seq: last }
}

export function placeOfPartition({ leaf, logId, partition, first, last }: BookedConsumerSeal): Place {
  return { leaf, log_id: logId, partition, first_offset: first, last_offset: last }
}

function wrong(
  findings: Findings,
  code: 'seal-forked' | 'seal-missing' | 'seal-out-of-chain',
  message: string,
  place: Place,
): void {
  findings.add('tampering', code, message, place)
}
