/** The seals of a seal log, checked one by one: form, key, role, time and signature. */
import { createHash } from 'node:crypto'
import {
  type ConsumerSeal,
  keyFaultAt,
  keyNameOf,
  noteHash,
  parseConsumerSeal,
  parseNote,
  parseProducerSeal,
  type ProducerSeal,
  readNote,
  type Trust,
  type TrustedKey,
  verifyNote,
} from '@agent-audit/seals'
import type { Findings, Place } from '../findings.ts'

export interface BookedProducerSeal extends ProducerSeal {
  readonly leaf: number
  /** Of the first checkpoint that holds it, milliseconds since 1970; undefined: none does. */
  readonly anchoredMs: number | undefined
  /** Hash of the note, by which the next seal of the run names it. */
  readonly hash: Buffer
  /** Hash of its text: notes of one text are one seal. */
  readonly textHash: Buffer
}

export interface BookedConsumerSeal extends ConsumerSeal {
  readonly leaf: number
  readonly textHash: Buffer
}

type Role = 'producer' | 'consumer'
const HEAD = /^audit-seal\/v1 (producer|consumer)\n/

export class SealBook {
  /** By run, 32 hex digits, in the order of the log. */
  readonly runs: Map<string, BookedProducerSeal[]> = new Map()
  /** By `<log_id>/<partition>`. */
  readonly partitions: Map<string, BookedConsumerSeal[]> = new Map()
  /** Seals whose signature counts. */
  seals = 0
  /** Seals that no checkpoint holds yet. */
  unanchored = 0
  readonly #findings: Findings
  /** Undefined: no trust file, and no key is checked. */
  readonly #byName: ReadonlyMap<string, readonly TrustedKey[]> | undefined
  readonly #sealing = new Set<string>()
  readonly #now = Date.now()
  readonly #missed = new Set<string>()

  /** @param trust - Undefined: seals count by whichever key they are signed. */
  constructor(trust: Trust | undefined, findings: Findings) {
    this.#findings = findings
    this.#byName = trust && Map.groupBy(trust.keys, ({ key, role }) => `${role} ${key.name}`)
  }

  /** @param anchoredMs - Time of the first checkpoint that holds it. Undefined: none does, and it is judged by now. */
  add(leaf: number, bytes: Buffer, anchoredMs: number | undefined): void {
    let note: string
    let text: string
    try {
      note = readNote(bytes)
      text = parseNote(note).text
    } catch (error) {
      return this.#wrong('seal-invalid', (error as Error).message, { leaf })
    }
    const role = HEAD.exec(text)?.[1] as Role | undefined
    if (role === undefined) return this.#wrong('seal-invalid', 'it is no seal of a known version', { leaf })
    try {
      if (role === 'producer') this.#addProducer(leaf, { note, text, anchoredMs })
      else this.#addConsumer(leaf, { note, text, anchoredMs })
    } catch (error) {
      this.#wrong('seal-invalid', (error as Error).message, { leaf })
    }
  }

  /** Since when a key of this producer counts, milliseconds since 1970. Undefined: none does. */
  producerSince(producerId: string): number | undefined {
    if (this.#byName === undefined) return this.#sealing.has(producerId) ? -Infinity : undefined
    const keys = this.#byName.get(`producer ${keyNameOf(producerId)}`)
    return keys === undefined ? undefined : Math.min(...keys.map(({ notBefore }) => notBefore))
  }

  #addProducer(leaf: number, found: FoundNote): void {
    const seal = parseProducerSeal(found.text)
    const { runId: run_id, producerId: producer_id, first: first_run_seq, last: last_run_seq } = seal
    const place = { leaf, run_id, producer_id, first_run_seq, last_run_seq }
    // An adopted seal has the adopter's key, whose producer its text does not name.
    const name = seal.state.kind === 'adopted' ? undefined : keyNameOf(producer_id)
    if (!this.#isSigned('producer', name, found, place)) return
    this.#sealing.add(producer_id)
    const hashes = { hash: noteHash(found.note), textHash: sha256(found.text) }
    const seals = this.runs.get(run_id)
    const booked = { ...seal, leaf, anchoredMs: found.anchoredMs, ...hashes }
    if (seals === undefined) this.runs.set(run_id, [booked])
    else seals.push(booked)
  }

  #addConsumer(leaf: number, found: FoundNote): void {
    const seal = parseConsumerSeal(found.text)
    const { logId: log_id, partition, first: first_offset, last: last_offset } = seal
    if (!this.#isSigned('consumer', undefined, found, { leaf, log_id, partition, first_offset, last_offset })) return
    const key = `${log_id}/${partition}`
    const seals = this.partitions.get(key)
    const booked = { ...seal, leaf, textHash: sha256(found.text) }
    if (seals === undefined) this.partitions.set(key, [booked])
    else seals.push(booked)
  }

  /** @param name - The key name that must have signed it; undefined: any of the role. */
  #isSigned(role: Role, name: string | undefined, { note, anchoredMs }: FoundNote, place: Place): boolean {
    const byName = this.#byName
    if (byName === undefined) {
      this.seals++
      return true
    }
    const { signatures } = parseNote(note)
    const names = signatures.map(({ keyName }) => keyName)
    const trusted = names
      .flatMap((each) => byName.get(`${role} ${each}`) ?? [])
      .filter(({ key }) => name === undefined || key.name === name)
    const [signer = ''] = names
    if (trusted.length === 0) {
      const asked = name ?? signer
      if (byName.has(`${role} ${asked}`)) {
        this.#wrong('key-foreign', `${role} seal: expected the key of ${asked}, found ${signer}`, place)
      } else {
        this.#missKey(role, asked, place)
      }
      return false
    }
    return this.#verifies(note, { role, trusted, time: anchoredMs ?? this.#now }, place, anchoredMs === undefined)
  }

  /** Said once for each name. */
  #missKey(role: Role, name: string, place: Place): void {
    const key = `${role} ${name}`
    if (this.#missed.has(key)) return
    this.#missed.add(key)
    this.#findings.add('unchecked', 'key-missing', `the trust file has no key of the ${key}`, place)
  }

  #verifies(note: string, { role, trusted, time }: Judged, place: Place, unanchored: boolean): boolean {
    const keys = trusted.map(({ key }) => key)
    const { signatures } = parseNote(note)
    if (!signatures.some((one) => keys.some(({ name, id }) => name === one.keyName && id === one.keyId))) {
      this.#wrong('key-foreign', `${role} seal: another key than the trust file has signed as ${keys[0]?.name}`, place)
      return false
    }
    try {
      const { verified } = verifyNote(note, keys)
      const faults = verified.map(({ key }) => {
        const own = trusted.find((one) => one.key === key)
        return own && keyFaultAt(own, time)
      })
      if (!faults.includes(undefined)) {
        const when = unanchored ? 'now, and no checkpoint holds the seal' : 'when a checkpoint first held the seal'
        this.#wrong('key-out-of-time', `${role} seal: the key of ${keys[0]?.name} is ${faults[0]} ${when}`, place)
        return false
      }
    } catch (error) {
      this.#wrong('signature-wrong', `${role} seal: ${(error as Error).message}`, place)
      return false
    }
    this.seals++
    if (unanchored) this.unanchored++
    return true
  }

  #wrong(
    code: 'seal-invalid' | 'key-foreign' | 'key-out-of-time' | 'signature-wrong',
    message: string,
    place: Place,
  ): void {
    this.#findings.add('tampering', code, message, place)
  }
}

interface FoundNote {
  readonly note: string
  readonly text: string
  readonly anchoredMs: number | undefined
}

interface Judged {
  readonly role: Role
  readonly trusted: readonly TrustedKey[]
  readonly time: number
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
