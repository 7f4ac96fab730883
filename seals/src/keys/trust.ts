/** The trust file: the keys that a reader takes, by role and time. It comes from outside the pipeline; a root key may sign it. */
import { IntegrityError } from '@agent-audit/schemas'
import { formatTime, invalid, isTime, LineReader, quoted, TIME_FORM } from '../notes/lines.ts'
import { verifyNote } from '../notes/note.ts'
import { COSIGNATURE, ED25519, idOfKeyName, keyNameFault, keyNameOf, VerifierKey } from '../notes/verifier-key.ts'

export const KEY_ROLES = ['producer', 'consumer', 'notary', 'approver', 'eraser'] as const
export type KeyRole = (typeof KEY_ROLES)[number]

/** Times are milliseconds since 1970. A key counts from `notBefore` to before `notAfter`, and before `revoked`. */
export interface TrustedKey {
  readonly key: VerifierKey
  readonly role: KeyRole
  readonly notBefore: number
  /** Undefined: without an end. */
  readonly notAfter: number | undefined
  /** From then on another party may have had the key. */
  readonly revoked: number | undefined
}

export interface Trust {
  readonly keys: readonly TrustedKey[]
  /** producer_ids of the producers that are expected to seal. */
  readonly producers: readonly string[]
  /** Names of services whose approver keys sign for any approver: a service knows by itself who decides. */
  readonly services: readonly string[]
  /** Origin of the seal log's checkpoints. */
  readonly origin: string | undefined
  /** Cosigners of checkpoints outside. */
  readonly witnesses: readonly VerifierKey[]
}

export const EMPTY_TRUST: Trust = { keys: [], producers: [], services: [], origin: undefined, witnesses: [] }

const HEAD = 'audit-trust/v1'
const LINES = {
  head: `"${HEAD}"`,
  key: `"key <vkey> <${KEY_ROLES.join('|')}> <not before> <not after or -> [revoked <time>]" with times ${TIME_FORM}`,
  producer: '"producer <percent-encoded producer_id>"',
  service: '"service <percent-encoded name of a service>"',
  origin: '"origin <origin of the checkpoints>"',
  witness: '"witness <vkey>"',
} as const

/** @throws IntegrityError with code SEAL_INVALID, if it contradicts itself */
export function formatTrust(trust: Trust): string {
  check(trust)
  const lines = [
    HEAD,
    ...trust.keys.map(formatTrustedKey),
    ...trust.producers.map((id) => `producer ${keyNameOf(id)}`),
    ...trust.services.map((id) => `service ${keyNameOf(id)}`),
    ...(trust.origin === undefined ? [] : [`origin ${trust.origin}`]),
    ...trust.witnesses.map(({ vkey }) => `witness ${vkey}`),
  ]
  return `${lines.join('\n')}\n`
}

/** The line of a key, without its line feed. */
export function formatTrustedKey({ key, role, notBefore, notAfter, revoked }: TrustedKey): string {
  const end = notAfter === undefined ? '-' : formatTime(notAfter)
  const line = `key ${key.vkey} ${role} ${formatTime(notBefore)} ${end}`
  return revoked === undefined ? line : `${line} revoked ${formatTime(revoked)}`
}

/** @throws IntegrityError with code SEAL_INVALID, that names the line and what is expected there */
export function parseTrust(text: string): Trust {
  const lines = new LineReader('trust file', text)
  if (lines.line(LINES.head) !== HEAD) lines.fail(LINES.head)
  const keys: TrustedKey[] = []
  while (lines.has('key')) keys.push(readKey(lines))
  const producers = readIds(lines, 'producer')
  const services = readIds(lines, 'service')
  const origin = lines.has('origin') ? lines.fields('origin', 1, LINES.origin)[0] : undefined
  const witnesses: VerifierKey[] = []
  while (lines.has('witness')) witnesses.push(VerifierKey.parse(lines.fields('witness', 1, LINES.witness)[0]))
  lines.end()
  const trust = { keys, producers, services, origin, witnesses }
  check(trust)
  return trust
}

/** A trust file as it was read. */
export interface OpenedTrust extends Trust {
  /** none: it has no signature. unchecked: it has one, and no root key was given. checked: by the given root key. */
  readonly signature: 'none' | 'unchecked' | 'checked'
}

/**
 * Reads a trust file, signed or not.
 * @param root - The key that must have signed it.
 * @throws IntegrityError with code SEAL_INVALID; SIGNATURE_INVALID, if the root key has not signed it
 */
export function openTrust(file: string, root?: VerifierKey): OpenedTrust {
  const end = file.lastIndexOf('\n\n')
  if (root !== undefined) {
    if (end === -1) throw new IntegrityError('SIGNATURE_INVALID', `trust file: ${quoted(root.name)} has not signed it`)
    return { ...parseTrust(verifyNote(file, [root]).text), signature: 'checked' }
  }
  return end === -1
    ? { ...parseTrust(file), signature: 'none' }
    : { ...parseTrust(file.slice(0, end + 1)), signature: 'unchecked' }
}

/** Why a key does not count at a time; undefined: it does. The time is that of the first checkpoint that holds what it signed. */
export type KeyFault = 'not yet valid' | 'no longer valid' | 'revoked'

export function keyFaultAt({ notBefore, notAfter, revoked }: TrustedKey, time: number): KeyFault | undefined {
  if (revoked !== undefined && time >= revoked) return 'revoked'
  if (time < notBefore) return 'not yet valid'
  return notAfter !== undefined && time >= notAfter ? 'no longer valid' : undefined
}

/** The verifier keys of a role, whatever the time. */
export function keysOfRole(trust: Trust, role: KeyRole): VerifierKey[] {
  return trust.keys.flatMap((trusted) => (trusted.role === role ? [trusted.key] : []))
}

function readKey(lines: LineReader): TrustedKey {
  const [, vkey = '', role = '', from = '', to = '', ...more] = lines.line(LINES.key).split(' ')
  const known = KEY_ROLES.find((each) => each === role) ?? lines.fail(LINES.key)
  const time = (text: string): number => lines.time(text, LINES.key)
  const [word, revoked = '', ...rest] = more
  if (rest.length > 0 || (word !== undefined && word !== 'revoked')) lines.fail(LINES.key)
  return {
    key: VerifierKey.parse(vkey),
    role: known,
    notBefore: time(from),
    notAfter: to === '-' ? undefined : time(to),
    revoked: word === undefined ? undefined : time(revoked),
  }
}

function readIds(lines: LineReader, tag: 'producer' | 'service'): string[] {
  const ids: string[] = []
  while (lines.has(tag)) ids.push(idOfKeyName(lines.fields(tag, 1, LINES[tag])[0]) ?? lines.fail(LINES[tag]))
  return ids
}

function refuse(fault: string): never {
  throw invalid(`trust file: ${fault}`)
}

function check({ keys, producers, services, origin, witnesses }: Trust): void {
  const owners = new Map<string, VerifierKey>()
  const once = (key: VerifierKey): void => {
    const material = key.publicKey.toString('base64')
    // One key in two roles, or for two names, would let a signature of one stand for the other.
    if (owners.has(material)) refuse(`expected the key of ${quoted(key.name)} once`)
    owners.set(material, key)
  }
  for (const { key, notBefore, notAfter, revoked } of keys) {
    once(key)
    const name = quoted(key.name)
    if (key.type !== ED25519) refuse(`expected a key of type 1 for ${name}: a notary's cosignatures are known with it`)
    if (![notBefore, notAfter ?? 0, revoked ?? 0].every(isTime))
      refuse(`expected times in the years 0 to 9999 for ${name}`)
    if (notAfter !== undefined && notAfter <= notBefore) refuse(`expected the key of ${name} to end after it begins`)
  }
  for (const key of witnesses) {
    once(key)
    if (key.type !== COSIGNATURE) refuse(`expected a key of type 4 for the witness ${quoted(key.name)}`)
  }
  for (const [what, ids] of Object.entries({ producer: producers, service: services })) {
    if (ids.includes('')) refuse(`expected the name of a ${what}, found an empty one`)
    const twice = ids.find((id, index) => ids.indexOf(id) < index)
    if (twice !== undefined) refuse(`expected the ${what} ${quoted(twice)} once`)
  }
  if (origin !== undefined && keyNameFault(origin) !== undefined)
    refuse('expected an origin without spaces and plus signs')
}
