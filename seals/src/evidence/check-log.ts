/** The checkpoints of a bundle: signed by a notary, of one log, each an extension of the one before. */
import { keyFaultAt, keysOfRole, type Trust } from '../keys/trust.ts'
import { quoted } from '../notes/lines.ts'
import { type VerifiedCheckpoint, verifyCheckpoint } from '../tree/checkpoint.ts'
import { verifyConsistency } from '../tree/verify-proof.ts'
import type { CheckpointEvidence } from './bundle.ts'
import { signedBy } from './signed-by.ts'
import type { Findings } from './verdict.ts'

/** A checkpoint whose signature and time count. `time`: milliseconds since 1970. */
export interface Anchor extends VerifiedCheckpoint {
  readonly time: number
}

/** @returns those up to the first that does not count, in order of their sizes */
export function checkLog(log: readonly CheckpointEvidence[], trust: Trust, findings: Findings): Anchor[] {
  const anchors: Anchor[] = []
  for (const [index, { note, consistency }] of log.entries()) {
    const anchor = readAnchor(note, { trust, where: `checkpoint ${index}`, findings })
    if (anchor === undefined) return anchors
    const fault = faultBehind(anchors.at(-1), anchor, consistency)
    if (fault !== undefined) {
      findings.add('tampered', 'fork', `checkpoint ${index}`, fault)
      return anchors
    }
    anchors.push(anchor)
  }
  return anchors
}

/** A checkpoint from outside must be one of the bundle's: then the bundle's log is the log of that checkpoint. */
export function checkOutside(note: string, anchors: readonly Anchor[], trust: Trust, findings: Findings): void {
  const where = 'the given checkpoint'
  const outside = readAnchor(note, { trust, where, findings })
  if (outside === undefined) return
  const own = anchors.find(({ size }) => size === outside.size)
  if (own === undefined) {
    const message = `the bundle has no proof to a log of ${outside.size} seals: export it again with this checkpoint`
    findings.add('unchecked', 'checkpoint', where, message)
  } else if (own.origin !== outside.origin || !own.root.equals(outside.root)) {
    findings.add('tampered', 'fork', where, `the bundle has another log of ${own.size} seals`)
  }
}

function readAnchor(
  note: string,
  { trust, where, findings }: { trust: Trust; where: string; findings: Findings },
): Anchor | undefined {
  const notary = signedBy(note, { trust, role: 'notary', where, findings })
  if (notary === undefined) return undefined
  const keys = { log: keysOfRole(trust, 'notary'), witnesses: trust.witnesses }
  const checkpoint = findings.try('checkpoint', where, () => verifyCheckpoint(note, keys))
  if (checkpoint === undefined) return undefined
  const { origin, seconds } = checkpoint
  if (trust.origin !== undefined && origin !== trust.origin) {
    findings.add(
      'tampered',
      'checkpoint',
      where,
      `expected the origin ${quoted(trust.origin)}, found ${quoted(origin)}`,
    )
    return undefined
  }
  if (seconds === undefined) {
    findings.add('unchecked', 'checkpoint', where, 'it has no cosignature of its notary, so no signed time')
    return undefined
  }
  const fault = keyFaultAt(notary, seconds * 1000)
  if (fault === undefined) return { ...checkpoint, time: seconds * 1000 }
  findings.add('tampered', 'key', where, `the key ${quoted(notary.key.name)} is ${fault} at its time`)
  return undefined
}

function faultBehind(
  before: Anchor | undefined,
  { origin, size, root }: Anchor,
  proof: readonly Buffer[],
): string | undefined {
  if (before === undefined) return proof.length === 0 ? undefined : 'expected no proof before the first checkpoint'
  if (origin !== before.origin) return 'its origin is not that of the checkpoint before'
  if (size <= before.size) return `expected a size above ${before.size}, found ${size}`
  const holds = verifyConsistency({ from: before.size, to: size, oldRoot: before.root, newRoot: root, proof })
  return holds ? undefined : `it does not extend the log of ${before.size} seals`
}
