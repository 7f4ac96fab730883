/** The seals of a bundle: each covers records of it, has their leaves in its digest, and is in the log. */
import { createHash } from 'node:crypto'
import { keyFaultAt, type Trust, type TrustedKey } from '../keys/trust.ts'
import { quoted } from '../notes/lines.ts'
import { parseNote } from '../notes/note.ts'
import { keyNameOf } from '../notes/verifier-key.ts'
import { parseProducerSeal, type ProducerSeal } from '../seals/producer-seal.ts'
import { HASH_BYTES, leafHash } from '../tree/hashes.ts'
import { verifyInclusion } from '../tree/verify-proof.ts'
import type { SealEvidence } from './bundle.ts'
import type { Anchor } from './check-log.ts'
import { type EvidenceRecord, fingerprintText } from './records.ts'
import { signedBy } from './signed-by.ts'
import { type Findings, placeOf } from './verdict.ts'

interface Context {
  readonly records: readonly EvidenceRecord[]
  readonly anchors: readonly Anchor[]
  readonly trust: Trust
  readonly findings: Findings
}

/**
 * Checks the seals, and that each record has one.
 * @returns the signed time of the first checkpoint that holds the seal of a record, milliseconds since 1970
 */
export function checkSeals(seals: readonly SealEvidence[], context: Context): Map<EvidenceRecord, number> {
  const { records, findings } = context
  const byRun = Map.groupBy(records, ({ runId }) => runId)
  const sealed = new Set<EvidenceRecord>()
  const times = new Map<EvidenceRecord, number>()
  const read: ProducerSeal[] = []
  for (const [index, evidence] of seals.entries()) {
    const seal = findings.try('seal', `seal ${index}`, () => parseProducerSeal(parseNote(evidence.note).text))
    if (seal === undefined) continue
    const where = placeOf(seal.runId, seal.first, seal.last)
    const before = read.at(-1)
    if (before !== undefined && !(before.runId === seal.runId ? before.last < seal.first : before.runId < seal.runId)) {
      findings.add('tampered', 'bundle', where, 'its seals are not in ascending order of runs and ranges')
    }
    read.push(seal)
    const own = (byRun.get(seal.runId) ?? []).filter(({ runSeq }) => seal.first <= runSeq && runSeq <= seal.last)
    for (const record of own) sealed.add(record)
    const fault = recordFault(seal, own, evidence.leaves)
    if (fault !== undefined) findings.add('tampered', 'seal', where, fault)
    const anchor = checkSigned(seal, evidence, { ...context, where })
    if (anchor !== undefined) for (const record of own) times.set(record, anchor.time)
  }
  for (const [first, last] of stretches(records.filter((record) => !sealed.has(record)))) {
    findings.add(
      'incomplete',
      'unsealed',
      placeOf(first.runId, first.runSeq, last.runSeq),
      'no producer seal covers it',
    )
  }
  return times
}

/** @param own - The records of the bundle in the range of the seal, in order. */
function recordFault(seal: ProducerSeal, own: readonly EvidenceRecord[], leaves: Buffer): string | undefined {
  if (own.length === 0) return 'the seal covers no record of the bundle'
  const gapped = own.find(({ runSeq }) => seal.gaps.some(({ first, last }) => first <= runSeq && runSeq <= last))
  if (gapped !== undefined) return `the seal says that the run has no record ${gapped.runSeq}`
  const other = own.find(({ version, fields }) => {
    return fields['producer_id'] !== seal.producerId || fingerprintText(version) !== seal.schema
  })
  if (other !== undefined) return `record ${other.runSeq} has another producer or schema than the seal`
  if (leaves.length !== HASH_BYTES * (seal.count - own.length)) {
    return `expected the leaves of ${seal.count - own.length} other records, found ${leaves.length / HASH_BYTES}`
  }
  const digest = createHash('sha256')
  let [at, next] = [0, 0]
  for (const runSeq of numbersOf(seal)) {
    const record = own[next]
    if (record?.runSeq === runSeq) {
      digest.update(record.leaf)
      next += 1
    } else {
      digest.update(leaves.subarray(at, at + HASH_BYTES))
      at += HASH_BYTES
    }
  }
  return digest.digest().equals(seal.digest) ? undefined : 'records or leaves are not those that were sealed'
}

/** The run_seqs of the range without its gaps. The count bounds them: it fits the leaves that are there. */
function* numbersOf({ first, last, gaps }: ProducerSeal): Generator<number> {
  let next = first
  for (const gap of [...gaps, { first: last + 1, last: last + 1 }]) {
    for (; next < gap.first; next++) yield next
    next = gap.last + 1
  }
}

/** @returns as {@link checkProof} */
function checkSigned(
  seal: ProducerSeal,
  evidence: SealEvidence,
  context: Context & { where: string },
): Anchor | undefined {
  const { trust, where, findings } = context
  const signer = signedBy(evidence.note, { trust, role: 'producer', where, findings })
  const anchor = checkProof(evidence, context)
  if (signer === undefined) return anchor
  const { name } = signer.key
  if (seal.state.kind !== 'adopted' && name !== keyNameOf(seal.producerId)) {
    findings.add('tampered', 'key', where, `the seal of ${quoted(seal.producerId)} is signed by ${quoted(name)}`)
  }
  if (anchor !== undefined) checkTime(signer, anchor, context)
  return anchor
}

function checkTime(signer: TrustedKey, anchor: Anchor, { where, findings }: Context & { where: string }): void {
  const fault = keyFaultAt(signer, anchor.time)
  if (fault === undefined) return
  const message = `the key ${quoted(signer.key.name)} is ${fault} at the first checkpoint that holds the seal`
  findings.add('tampered', 'key', where, message)
}

/** @returns the first checkpoint that holds the seal; undefined, with a finding, if none is shown to */
function checkProof(
  { note, proof }: SealEvidence,
  { anchors, where, findings }: Context & { where: string },
): Anchor | undefined {
  if (proof === undefined) {
    findings.add('unchecked', 'checkpoint', where, 'no checkpoint holds the seal')
    return undefined
  }
  const { index, hashes } = proof
  const anchor = anchors.find(({ size }) => size > index)
  if (anchor === undefined) {
    findings.add('unchecked', 'checkpoint', where, `no checkpoint that counts has the leaf ${index}`)
    return undefined
  }
  const { size, root } = anchor
  if (verifyInclusion({ leafHash: leafHash(note), index, size, root, proof: hashes })) return anchor
  findings.add('tampered', 'proof', where, `the log of ${size} seals does not have the seal at ${index}`)
  return undefined
}

/** Records that follow each other in a run, as first and last. */
function stretches(records: readonly EvidenceRecord[]): [EvidenceRecord, EvidenceRecord][] {
  const found: [EvidenceRecord, EvidenceRecord][] = []
  for (const record of records) {
    const last = found.at(-1)
    if (last?.[1].runId === record.runId && last[1].runSeq + 1 === record.runSeq) last[1] = record
    else found.push([record, record])
  }
  return found
}
