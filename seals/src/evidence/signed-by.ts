/** Whose signature a note has, by the trust file. */
import { type KeyRole, keysOfRole, type Trust, type TrustedKey } from '../keys/trust.ts'
import { quoted } from '../notes/lines.ts'
import { parseNote, verifyNote } from '../notes/note.ts'
import { idText } from '../notes/verifier-key.ts'
import type { Findings } from './verdict.ts'

/** @returns the key of this role that has signed; undefined, with a finding, if none has */
export function signedBy(
  note: string,
  { trust, role, where, findings }: { trust: Trust; role: KeyRole; where: string; findings: Findings },
): TrustedKey | undefined {
  const parsed = findings.try('bundle', where, () => parseNote(note))
  if (parsed === undefined) return undefined
  const { signatures } = parsed
  const known = trust.keys.filter(({ key }) =>
    signatures.some(({ keyName, keyId }) => keyName === key.name && keyId === key.id),
  )
  const own = known.find((trusted) => trusted.role === role)
  if (own !== undefined) {
    const verified = findings.try('signature', where, () => verifyNote(note, keysOfRole(trust, role)))
    return verified === undefined ? undefined : own
  }
  const [other] = known
  if (other !== undefined) {
    findings.add('tampered', 'key', where, `${quoted(other.key.name)} has the role ${other.role}, not ${role}`)
    return undefined
  }
  const names = signatures.slice(0, 3).map(({ keyName, keyId }) => `${quoted(keyName)} (key id ${idText(keyId)})`)
  findings.add('unchecked', 'key', where, `the trust file has no ${role} key ${names.join(', ')}`)
  return undefined
}
