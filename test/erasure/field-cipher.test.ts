/** The text of an encrypted field, held against another implementation of its parts. */
import { webcrypto } from 'node:crypto'
import { DAMAGED, ENCRYPTED, ERASED, FieldCipher, FieldReader, KEY_UNKNOWN } from '@agent-audit/erasure'
import { describe, expect, it } from 'vitest'
import { ANNA, newStore } from './support.ts'

const PLACE = {
  runId: '00112233445566778899aabbccddeeff',
  runSeq: 7,
  eventId: '019b7720-6c45-7641-8eba-d3f3000014ac',
  field: 'output_text',
}
const TEXT = 'Grüße an Anna 👋'

async function openedByWebCrypto(secret: Uint8Array, encrypted: string, runSeq: number): Promise<string> {
  const { subtle } = webcrypto
  const body = Buffer.from(encrypted.split(':')[3] ?? '', 'base64')
  const base = await subtle.importKey('raw', secret, 'HKDF', false, ['deriveKey'])
  const derivation = {
    name: 'HKDF',
    hash: 'SHA-256',
    salt: Buffer.from(PLACE.runId, 'hex'),
    info: Buffer.from(`agent-audit field/v1 ${Math.floor(runSeq / 2 ** 28)}`),
  }
  const key = await subtle.deriveKey(derivation, base, { name: 'AES-GCM', length: 256 }, false, ['decrypt'])
  const about = `audit-field/v1\n${PLACE.runId}\n${runSeq}\n${PLACE.eventId}\noutput_text`
  const algorithm = { name: 'AES-GCM', iv: body.subarray(0, 12), additionalData: Buffer.from(about) }
  return Buffer.from(await subtle.decrypt(algorithm, key, body.subarray(12))).toString()
}

describe('an encrypted text', () => {
  const key = { id: 'ab'.repeat(16), secret: Buffer.alloc(32, 1) }
  const cipher = new FieldCipher(key, PLACE.runId)

  it('has the documented form: another implementation opens it', async () => {
    const encrypted = cipher.encrypt(TEXT, PLACE)
    expect(encrypted).toMatch(/^enc:v1:(ab){16}:[A-Za-z0-9+/]+={0,2}$/)
    expect(await openedByWebCrypto(key.secret, encrypted, 7)).toBe(TEXT)
    expect(cipher.decrypt(encrypted, PLACE)).toBe(TEXT)
  })

  it('has another key after 2^28 events of a run: no key has more texts than its nonces allow', async () => {
    for (const runSeq of [2 ** 28 - 1, 2 ** 28, 2 ** 40]) {
      const place = { ...PLACE, runSeq }
      const encrypted = cipher.encrypt(TEXT, place)
      expect(await openedByWebCrypto(key.secret, encrypted, runSeq)).toBe(TEXT)
      expect(new FieldCipher(key, PLACE.runId).decrypt(encrypted, { ...place, runSeq: String(runSeq) })).toBe(TEXT)
    }
  })

  it('opens at its own place alone, and unchanged alone', () => {
    const encrypted = cipher.encrypt(TEXT, PLACE)
    const elsewhere = [
      { ...PLACE, field: 'reasoning' },
      { ...PLACE, runSeq: 8 },
      { ...PLACE, eventId: '019b7720-6c45-7641-8eba-d3f3000014ad' },
    ]
    expect(elsewhere.map((place) => cipher.decrypt(encrypted, place))).toEqual([undefined, undefined, undefined])
    const otherRun = new FieldCipher(key, 'ff'.repeat(16))
    expect(otherRun.decrypt(encrypted, PLACE)).toBeUndefined()
    const start = encrypted.lastIndexOf(':') + 1
    for (let index = start; index < encrypted.length; index++) {
      const changed = `${encrypted.slice(0, index)}${encrypted[index] === 'A' ? 'B' : 'A'}${encrypted.slice(index + 1)}`
      // The last character of the Base64 may have bits that mean nothing.
      if (Buffer.from(changed.slice(start), 'base64').equals(Buffer.from(encrypted.slice(start), 'base64'))) continue
      expect(cipher.decrypt(changed, PLACE)).toBeUndefined()
    }
  })

  it('of one subject does not open as that of another one, under either name of the key', () => {
    const { store } = newStore()
    const [anna, bert] = [store.keyFor(ANNA), store.keyFor({ kind: 'user', id: 'bert@example.com' })]
    const annas = new FieldCipher(anna, PLACE.runId).encrypt(TEXT, PLACE)
    const read = (text: string): unknown => {
      const row = {
        run_id: PLACE.runId,
        run_seq: '7',
        event_id: PLACE.eventId,
        output_text: text,
        field_notes: '{"output_text":{"encrypted":true}}',
      }
      new FieldReader(store).reveal(row)
      return row.output_text
    }
    expect(read(annas)).toBe(TEXT)
    expect(read(annas.replace(anna.id, bert.id))).toBe(DAMAGED)
    expect(read(annas.replace(anna.id, 'ff'.repeat(16)))).toBe(KEY_UNKNOWN)
  })

  it('never has the nonce of another one', () => {
    const nonces = Array.from({ length: 20_000 }, () => cipher.encrypt('x', PLACE).split(':')[3]?.slice(0, 16))
    expect(new Set(nonces).size).toBe(nonces.length)
  })

  it('is told from clear text by the notes of its event, never by its form alone', () => {
    const clear = cipher.encrypt(TEXT, PLACE)
    const row = {
      run_id: PLACE.runId,
      run_seq: '7',
      event_id: PLACE.eventId,
      output_text: clear,
      field_notes: null as string | null,
    }
    const read = (notes: string | null) => {
      const copy = { ...row, field_notes: notes }
      new FieldReader().reveal(copy)
      return copy.output_text
    }
    expect(read(null)).toBe(clear)
    expect(read('{"reason":{"encrypted":true}}')).toBe(clear)
    expect(read('{"reason":{"encrypted":true},"output_text":{"cut":{"bytes":9}}}')).toBe(clear)
    expect(read('{"output_text":{"encrypted":true}}')).toBe(ENCRYPTED)
    expect(read('{"output_text":{"erased":"ab"}}')).toBe(ERASED)
  })

  it('is read until its key is destroyed, also by a reader that had the key', () => {
    const { store } = newStore()
    const encrypted = new FieldCipher(store.keyFor(ANNA), PLACE.runId).encrypt(TEXT, PLACE)
    const reader = new FieldReader(store)
    const read = () => {
      const row = {
        run_id: PLACE.runId,
        run_seq: '7',
        event_id: PLACE.eventId,
        output_text: encrypted,
        field_notes: '{"output_text":{"encrypted":true}}',
      }
      reader.reveal(row)
      return row.output_text
    }
    expect(read()).toBe(TEXT)
    store.erase(ANNA)
    expect(read()).toBe(ERASED)
  })
})
