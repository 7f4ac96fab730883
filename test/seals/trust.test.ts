/** Which key counts when: the trust file, windows, revocation and rotation. */
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  applyRotation,
  EMPTY_TRUST,
  formatNote,
  formatRotation,
  formatTrust,
  generateKey,
  keyFromEnvironment,
  keyFaultAt,
  keysOfRole,
  openKeyFile,
  openTrust,
  parseRotation,
  parseTrust,
  signerFromPem,
  signRotation,
  type Trust,
  type TrustedKey,
} from '@agent-audit/seals'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { changed } from './seal-arbitraries.ts'

const DAY = 86_400_000
const START = Date.UTC(2026, 0)
const producer = signerFromPem(generateKey('acme%2Fagent'))
const notary = signerFromPem(generateKey('notary-1'))
const witness = signerFromPem(generateKey('witness.example/w1'))
const root = signerFromPem(generateKey('root'))

function trusted(change: Partial<TrustedKey> = {}): TrustedKey {
  const usual = {
    key: producer.key,
    role: 'producer',
    notBefore: START,
    notAfter: undefined,
    revoked: undefined,
  } as const
  return { ...usual, ...change }
}

const trust: Trust = {
  keys: [
    trusted({ notAfter: START + 30 * DAY, revoked: START + 20 * DAY }),
    trusted({ key: notary.key, role: 'notary' }),
  ],
  producers: ['acme/agent', 'other'],
  services: ['approval desk'],
  origin: 'audit.example/seals',
  witnesses: [witness.key.cosigner],
}
const TEXT = `audit-trust/v1
key ${producer.vkey} producer 2026-01-01T00:00:00.000Z 2026-01-31T00:00:00.000Z revoked 2026-01-21T00:00:00.000Z
key ${notary.vkey} notary 2026-01-01T00:00:00.000Z -
producer acme%2Fagent
producer other
service approval%20desk
origin audit.example/seals
witness ${witness.key.cosigner.vkey}
`

const put = (from: string | RegExp, to: string): string => TEXT.replace(from, to)

describe('a trust file', () => {
  it('has the form of docs/integrity.md', () => {
    expect(formatTrust(trust)).toBe(TEXT)
    expect(parseTrust(TEXT)).toEqual(trust)
    expect(parseTrust('audit-trust/v1\n')).toEqual(EMPTY_TRUST)
    expect(keysOfRole(trust, 'notary')).toEqual([notary.key])
  })

  it('a text has one form alone', () => {
    fc.assert(
      fc.property(changed(TEXT), (text) => {
        let formed: string
        try {
          formed = formatTrust(parseTrust(text))
        } catch (error) {
          expect(error).toMatchObject({ code: 'SEAL_INVALID' })
          return
        }
        expect(formed).toBe(text)
      }),
      { numRuns: 1_000 },
    )
  })

  it('is read signed or not, and says which', () => {
    const signed = root.sign(TEXT)
    expect(openTrust(TEXT)).toEqual({ ...trust, signature: 'none' })
    expect(openTrust(signed)).toEqual({ ...trust, signature: 'unchecked' })
    expect(openTrust(signed, root.key)).toEqual({ ...trust, signature: 'checked' })
    expect(() => openTrust(TEXT, root.key)).toThrow(
      expect.objectContaining({ code: 'SIGNATURE_INVALID', message: 'trust file: "root" has not signed it' }),
    )
    expect(() => openTrust(signed.replace('other', 'another'), root.key)).toThrow('the signature by "root"')
    expect(() => openTrust(notary.sign(TEXT), root.key)).toThrow('no known key has signed it, only "notary-1"')
  })

  it.each([
    ['another head', put('v1', 'v2'), 'trust file, line 1: expected "audit-trust/v1"'],
    [
      'another role',
      put(' producer 2026', ' admin 2026'),
      'line 2: expected "key <vkey> <producer|consumer|notary|approver|eraser>',
    ],
    ['no end of the window', put(' -\n', '\n'), 'line 3: expected "key <vkey>'],
    ['a time of another form', put('01T00:00:00.000Z 2026', '01 2026'), 'line 2: expected "key <vkey>'],
    ['another word', put('revoked', 'stolen'), 'line 2: expected "key <vkey>'],
    [
      'a window that ends before it begins',
      put('2026-01-31', '2025-01-31'),
      'expected the key of "acme%2Fagent" to end after it begins',
    ],
    ['a key with another id', put(/\+[0-9a-f]{8}\+/, '+00000000+'), 'expected the key id '],
    ['lines in another order', put('origin', `witness ${producer.vkey}\norigin`), 'line 8: expected no further line'],
    [
      'a key as witness too',
      put(witness.key.cosigner.vkey, notary.key.cosigner.vkey),
      'expected the key of "notary-1" once',
    ],
    [
      'a witness of another type',
      put(witness.key.cosigner.vkey, witness.vkey),
      'expected a key of type 4 for the witness',
    ],
    ['a cosigner as a key', put(notary.vkey, notary.key.cosigner.vkey), 'expected a key of type 1 for "notary-1"'],
    [
      'a producer that is not encoded',
      put('acme%2Fagent\nproducer', 'acme/agent\nproducer'),
      'line 4: expected "producer <percent-encoded',
    ],
    ['a producer twice', put('producer other', 'producer acme%2Fagent'), 'expected the producer "acme/agent" once'],
    [
      'a service before a producer',
      put(/(producer other\n)(service .*\n)/, '$2$1'),
      'line 6: expected no further line',
    ],
    ['a service twice', put(/(service .*\n)/, '$1$1'), 'expected the service "approval desk" once'],
    ['two origins', put('witness', 'origin b\nwitness'), 'line 8: expected no further line'],
    ['an origin with a plus', put('audit.example', 'a+b'), 'expected an origin without spaces and plus signs'],
    ['a comment', put('producer other', '# other'), 'line 5: expected no further line, found "# other"'],
    ['an empty line', put('origin', '\norigin'), 'line 7: expected no further line'],
  ])('%s is refused', (_, text, message) => {
    expect(text).not.toBe(TEXT)
    expect(() => parseTrust(text)).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
    )
  })
})

it.each([
  [{}, START - 1, 'not yet valid'],
  [{}, START, undefined],
  [{ notAfter: START + DAY }, START + DAY - 1, undefined],
  [{ notAfter: START + DAY }, START + DAY, 'no longer valid'],
  [{ revoked: START + DAY }, START + DAY - 1, undefined],
  [{ revoked: START + DAY }, START + DAY, 'revoked'],
  [{ notAfter: START + DAY, revoked: START + DAY }, START + DAY, 'revoked'],
])('a key with %j is at %i: %s', (change, time, fault) => {
  expect(keyFaultAt(trusted(change), time)).toBe(fault)
})

describe('a rotation', () => {
  const next = signerFromPem(generateKey('acme%2Fagent'))
  const time = START + 5 * DAY
  const rotation = { key: producer.key, next: next.key, time }
  const note = producer.sign(formatRotation(rotation))
  const before: Trust = { ...EMPTY_TRUST, keys: [trusted()] }

  it('has the form of docs/integrity.md', async () => {
    const text = `audit-rotation/v1\nkey ${producer.vkey}\nnext ${next.vkey}\ntime 2026-01-06T00:00:00.000Z\n`
    expect(formatRotation(rotation)).toBe(text)
    expect(parseRotation(text)).toEqual(rotation)
    expect(await signRotation(producer, next.key, time)).toBe(note)
  })

  it('the new key counts from its time on, the old one to the end of the overlap, or of its window', () => {
    const added = trusted({ key: next.key, notBefore: time })
    expect(applyRotation(before, note, 7 * DAY).keys).toEqual([trusted({ notAfter: time + 7 * DAY }), added])
    const short = { ...before, keys: [trusted({ notAfter: time + DAY })] }
    expect(applyRotation(short, note, 7 * DAY).keys).toEqual([trusted({ notAfter: time + DAY }), added])
  })

  it.each([
    [
      'of a key that is not trusted',
      { ...before, keys: [] },
      note,
      'rotation: the trust file has no key "acme%2Fagent+',
    ],
    [
      'by another key',
      before,
      formatNote(formatRotation(rotation), [next.signatureLine(formatRotation(rotation))]),
      'no known key has signed it',
    ],
    [
      'of a revoked key, even before its revocation',
      { ...before, keys: [trusted({ revoked: time + DAY })] },
      note,
      'rotation: the key of "acme%2Fagent" is revoked',
    ],
    ['of a key whose time is over', { ...before, keys: [trusted({ notAfter: time })] }, note, 'is no longer valid'],
    ['of a key before its time', { ...before, keys: [trusted({ notBefore: time + 1 })] }, note, 'is not yet valid'],
  ])('%s is refused', (_, from, given, message) => {
    expect(() => applyRotation(from, given, DAY)).toThrow(
      expect.objectContaining({ code: 'SIGNATURE_INVALID', message: expect.stringContaining(message) }),
    )
  })

  it.each([
    ['another name', { next: notary.key }, 'rotation: expected a successor named "acme%2Fagent", found "notary-1"'],
    ['itself', { next: producer.key }, 'rotation: expected another key as the successor'],
    ['a cosigner', { next: next.key.cosigner }, 'rotation: expected keys of type 1'],
  ])('to %s is refused', (_, change, message) => {
    expect(() => formatRotation({ ...rotation, ...change })).toThrow(message)
  })
})

function write(text: string, mode = 0o600): string {
  const file = join(makeTempDirectory(), 'key')
  writeFileSync(file, text, { mode })
  return file
}

describe('a key file', () => {
  const pem = generateKey('acme%2Fagent')

  it('opens with mode 0600 and 0400, and signs as its name', () => {
    for (const mode of [0o600, 0o400]) {
      const signer = openKeyFile(write(pem, mode))
      expect(signer.keyName).toBe('acme%2Fagent')
      expect(openKeyFile(write(pem), 'acme%2Fagent').vkey).toBe(signer.vkey)
    }
  })

  it('a plain PEM file, as openssl makes it, needs a name', () => {
    const plain = pem.slice(pem.indexOf('-----'))
    expect(openKeyFile(write(plain), 'acme').keyName).toBe('acme')
    expect(() => openKeyFile(write(plain))).toThrow('expected a line "Key-Name: <name>" before the PEM text')
  })

  it.each(['0640', '0604', '0660', '0666', '0644', '0700'])('mode %s is refused', (found) => {
    const file = write(pem)
    chmodSync(file, Number.parseInt(found, 8))
    expect(() => openKeyFile(file)).toThrow(
      `expected mode 0600 or 0400, found ${found}: others could read the private key`,
    )
  })

  it.skipIf(process.getuid?.() !== 0)(
    'a file of root that a group of the process may read is taken: Kubernetes mounts secrets so',
    () => {
      const file = write(pem)
      chmodSync(dirname(file), 0o755)
      const open = (mode: number, group: number): string => {
        chownSync(file, 0, group)
        chmodSync(file, mode)
        const code = `import { openKeyFile } from '@agent-audit/seals'
        try { console.log(openKeyFile(${JSON.stringify(file)}).keyName) } catch (error) { console.log(error.message) }`
        const args = ['--conditions=agent-audit-source', '--input-type=module', '--eval', code]
        const options = { cwd: fileURLToPath(new URL('../..', import.meta.url)), uid: 10_001, gid: 10_001, env: {} }
        return execFileSync(process.execPath, args, options).toString().trim()
      }
      expect(open(0o440, 10_001)).toBe('acme%2Fagent')
      expect(open(0o640, 10_001)).toBe('acme%2Fagent')
      expect(open(0o660, 10_001)).toContain('expected mode 0600 or 0400, found 0660')
      expect(open(0o444, 12_345)).toContain('expected mode 0600 or 0400, found 0444')
    },
  )

  it.skipIf(process.getuid?.() !== 0)('a file of another user is refused: that user could exchange the key', () => {
    const file = write(pem)
    chownSync(file, 12_345, 0)
    expect(() => openKeyFile(file)).toThrow(
      'expected a file of user 0, found one of user 12345, who could exchange the key',
    )
  })

  it('what a link leads to is checked, and a folder is none', () => {
    const file = write(pem)
    chmodSync(file, 0o644)
    const link = `${file}-link`
    symlinkSync(file, link)
    expect(() => openKeyFile(link)).toThrow('expected mode 0600 or 0400, found 0644')
    mkdirSync(`${file}-folder`)
    expect(() => openKeyFile(`${file}-folder`)).toThrow('expected a regular file')
  })

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'pem', type: 'pkcs8' })
  const sealed = generateKeyPairSync('ed25519').privateKey.export({
    format: 'pem',
    type: 'pkcs8',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  })
  it.each([
    ['an empty file', '', 'expected a line "Key-Name: <name>" before the PEM text'],
    ['no PEM', 'Key-Name: a\nkey', 'expected an Ed25519 private key without a password as PKCS8 PEM'],
    ['a cut key', pem.slice(0, 120), 'expected an Ed25519 private key'],
    ['an RSA key', `Key-Name: a\n${rsa.toString()}`, 'expected an Ed25519 private key'],
    [
      'a key with a password',
      `Key-Name: a\n${sealed.toString()}`,
      'expected an Ed25519 private key without a password',
    ],
    ['a name with a plus', pem.replace('acme%2Fagent', 'a+b'), 'expected a key name without spaces, plus signs'],
    ['a name with a space', pem.replace('acme%2Fagent', 'a b'), 'expected a key name without spaces, plus signs'],
    ['too much', `${pem}${' '.repeat(20_000)}`, 'expected at most 16384 bytes'],
  ])('%s is refused, and the text is not quoted', (_, text, message) => {
    expect(() => openKeyFile(write(text))).toThrow(
      expect.objectContaining({
        code: 'KEY_INVALID',
        message: expect.stringMatching(new RegExp(`${message}(?![\\s\\S]*MC4CAQ)`)),
      }),
    )
  })

  it('comes from a variable or from the file that a variable names', () => {
    const file = write(pem)
    const { vkey } = openKeyFile(file)
    expect(keyFromEnvironment({}, 'KEY')).toBeUndefined()
    expect(keyFromEnvironment({ KEY: '', KEY_FILE: '' }, 'KEY')).toBeUndefined()
    expect(keyFromEnvironment({ KEY: pem }, 'KEY')?.vkey).toBe(vkey)
    expect(keyFromEnvironment({ KEY: pem.replaceAll('\n', String.raw`\n`) }, 'KEY', 'acme%2Fagent')?.vkey).toBe(vkey)
    expect(keyFromEnvironment({ KEY_FILE: file }, 'KEY')?.vkey).toBe(vkey)
    expect(() => keyFromEnvironment({ KEY: pem, KEY_FILE: file }, 'KEY')).toThrow(
      'expected either KEY or KEY_FILE, not both',
    )
    expect(() => keyFromEnvironment({ KEY: 'secret' }, 'KEY')).toThrow(
      /^KEY: expected a line "Key-Name: <name>" before the PEM text$/,
    )
  })

  it('another name than expected, and a file that is missing, are refused', () => {
    expect(() => openKeyFile(write(pem), 'other')).toThrow(
      'expected the key of "other", found the key of "acme%2Fagent"',
    )
    expect(() => openKeyFile('/nowhere/key')).toThrow(
      expect.objectContaining({ code: 'KEY_INVALID', message: '/nowhere/key: cannot be read (ENOENT)' }),
    )
    expect(() => generateKey('a b')).toThrow('expected a key name without spaces')
  })
})
