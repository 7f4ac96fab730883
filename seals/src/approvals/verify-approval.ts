/** Whether an approver's note counts: who has signed it, and whether that key may sign for that approver at that time. */
import { IntegrityError } from '@agent-audit/schemas'
import { keyFaultAt, type Trust, type TrustedKey } from '../keys/trust.ts'
import { formatTime, invalid, quoted } from '../notes/lines.ts'
import { parseNote, verifyNote } from '../notes/note.ts'
import { idText, keyNameOf } from '../notes/verifier-key.ts'
import { parseApproval, type SignedApproval } from './signed-approval.ts'

export interface VerifiedApproval {
  readonly approval: SignedApproval
  readonly key: TrustedKey
}

/** An approval as its note says it; nothing is verified. */
export interface UnverifiedApproval {
  readonly approval: SignedApproval
  /** Of the signature, which any text may have. */
  readonly keyName: string
  readonly keyId: number
}

/** @throws IntegrityError with code SEAL_INVALID, if it is no note of an approval with one signature */
export function readApproval(note: string): UnverifiedApproval {
  const { text, signatures } = parseNote(note)
  const [signature] = signatures
  if (signature === undefined || signatures.length > 1) throw invalid('approval: expected one signature')
  const { keyName, keyId } = signature
  return { approval: parseApproval(text), keyName, keyId }
}

/**
 * @param time - When it is judged, milliseconds since 1970, by a clock that is not the signer's.
 * @throws IntegrityError with code SEAL_INVALID, if it is no such note; SIGNATURE_INVALID, if it does not count
 */
export function verifyApproval(note: string, trust: Trust, time: number): VerifiedApproval {
  const { approval, keyName, keyId } = readApproval(note)
  const name = quoted(keyName)
  const found = trust.keys.find(({ key }) => key.name === keyName && key.id === keyId)
  if (found === undefined) throw wrong(`the trust file has no key ${name} with the key id ${idText(keyId)}`)
  if (found.role !== 'approver') throw wrong(`the key ${name} has the role ${found.role}, expected approver`)
  verifyNote(note, [found.key])
  const fault = keyFaultAt(found, time)
  if (fault !== undefined) throw wrong(`the key ${name} is ${fault} at ${formatTime(time)}`)
  if (signsFor(trust, found, approval.approverId)) return { approval, key: found }
  throw wrong(`the key ${name} may not sign for ${quoted(approval.approverId)}: it is neither theirs nor a service's`)
}

/** A key signs for the approver that it is named after; that of a service for all approvers, whom the service knows. */
function signsFor({ services }: Trust, { key }: TrustedKey, approverId: string): boolean {
  return key.name === keyNameOf(approverId) || services.some((id) => keyNameOf(id) === key.name)
}

function wrong(message: string): IntegrityError {
  return new IntegrityError('SIGNATURE_INVALID', `approval: ${message}`)
}
