/** What the signature of a recorded decision shows, in one line. */
import { type Decision, judgeSignature } from '@agent-audit/analytics'
import type { Trust } from '@agent-audit/seals'

/** One line about the signature of a decision. */
export type SignatureText = (decision: Decision) => string

/** @param trust - Undefined: signatures are named, and not verified. */
export function signatureTexts(sessionId: string, trust: Trust | undefined): SignatureText {
  return (decision) => {
    const found = judgeSignature({ ...decision, session_id: sessionId }, trust)
    switch (found.kind) {
      case 'none':
        return 'not signed'
      case 'redacted':
        return 'signed; redaction has removed the signature from the record'
      case 'hidden':
        return `signed; the signature is not readable here: ${decision.signature}`
      case 'unverified':
        return `signature by ${found.signer}, not verified: give --trust FILE`
      case 'other decision':
        return `! signature of another decision: ${found.differing.join(', ')} differ`
      case 'wrong':
        return `! signature WRONG: ${found.message}`
      default: {
        const alone = decision.keyed_digests
          ? '; its arguments are encrypted: their digest was compared by the guard alone'
          : ''
        return `signed by ${found.signer}${alone}`
      }
    }
  }
}
