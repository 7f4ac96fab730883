/** Signed notes, keys and signatures: as C2SP has them, and as a second library computes them. */
import { createHash, createPrivateKey } from 'node:crypto'
import {
  COSIGNATURE,
  ED25519,
  formatNote,
  generateKey,
  KeySigner,
  noteHash,
  parseNote,
  readNote,
  signerFromPem,
  VerifierKey,
  verifyNote,
} from '@agent-audit/seals'
import * as ed25519 from '@noble/ed25519'
import { sha512 } from '@noble/hashes/sha2.js'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { changed } from './seal-arbitraries.ts'

ed25519.hashes.sha512 = sha512

/** A key of a fixed seed: PKCS8 of RFC 8410 is this head and the 32 bytes. */
function keyOf(name: string, seed: Uint8Array): KeySigner {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
  return new KeySigner(name, createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
}

const SEED = Buffer.alloc(32, 1)
const signer = keyOf('acme.example/agent', SEED)
const other = keyOf('acme.example/other', Buffer.alloc(32, 2))
const TEXT = 'first line\n\nthird line\n'
const NOTE = signer.sign(TEXT)

/** The examples of c2sp.org/signed-note and c2sp.org/tlog-cosignature. */
const C2SP = {
  vkey: 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k',
  note: 'This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n',
  emptyLine: `Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
`,
}

describe('C2SP', () => {
  it('the example of signed-note verifies with its key', () => {
    const key = VerifierKey.parse(C2SP.vkey)
    expect(key.vkey).toBe(C2SP.vkey)
    expect(verifyNote(C2SP.note, [key]).text).toBe('This is an example message.\n')
  })

  it('the last empty line ends the text', () => {
    const note = parseNote(C2SP.emptyLine)
    expect(note.text).toMatch(/sole:\n\ned è subito sera\.\n$/)
    expect(note.signatures).toMatchObject([{ keyName: 'quasimodo.example/salvatore', keyId: 0x367ba04b }])
  })

  it('a key id is that of the formula, for each type of signature', () => {
    const publicKey = ed25519.getPublicKey(SEED)
    expect(signer.key.publicKey).toEqual(Buffer.from(publicKey))
    for (const type of [ED25519, COSIGNATURE] as const) {
      const key = new VerifierKey('acme.example/agent', publicKey, type)
      const hash = createHash('sha256')
        .update(`acme.example/agent\n${String.fromCharCode(type)}`)
        .update(publicKey)
      expect(key.id).toBe(hash.digest().readUInt32BE(0))
      expect(VerifierKey.parse(key.vkey)).toEqual(key)
    }
  })
})

describe('a second library', () => {
  it('verifies what a key signs, and signs the same', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.stringMatching(/^[a-z \n]{1,40}$/),
        (seed, line) => {
          const key = keyOf('k', seed)
          const text = `${line}\n`
          const [signature] = parseNote(key.sign(text)).signatures
          const bytes = new TextEncoder().encode(text)
          expect(signature?.bytes).toEqual(Buffer.from(ed25519.sign(bytes, seed)))
          expect(ed25519.verify(signature?.bytes ?? SEED, bytes, ed25519.getPublicKey(seed))).toBe(true)
        },
      ),
      { numRuns: 20 },
    )
  })

  it('verifies a cosignature over the message of tlog-cosignature', () => {
    const checkpoint = 'origin\n7\nroot\n'
    const note = formatNote(checkpoint, [
      signer.signatureLine(checkpoint),
      signer.cosignatureLine(checkpoint, 1_679_315_147),
    ])
    const bytes = parseNote(note).signatures[1]?.bytes ?? Buffer.alloc(72)
    const message = Buffer.from(`cosignature/v1\ntime 1679315147\n${checkpoint}`)
    expect(bytes.readBigUInt64BE(0)).toBe(1_679_315_147n)
    expect(ed25519.verify(bytes.subarray(8), message, ed25519.getPublicKey(SEED))).toBe(true)
    const { verified } = verifyNote(note, [signer.key, signer.key.cosigner])
    expect(verified.map(({ key, seconds }) => [key.type, seconds])).toEqual([
      [ED25519, undefined],
      [COSIGNATURE, 1_679_315_147],
    ])
  })
})

describe('a note', () => {
  it('verifies with its key, and its hash is of all its bytes', () => {
    expect(verifyNote(NOTE, [other.key, signer.key])).toMatchObject({ text: TEXT, verified: [{ key: signer.key }] })
    expect(noteHash(NOTE)).toEqual(createHash('sha256').update(Buffer.from(NOTE)).digest())
    expect(readNote(Buffer.from(NOTE))).toBe(NOTE)
  })

  it('signatures of unknown keys count for nothing, and a key counts once', () => {
    const line = signer.signatureLine(TEXT)
    const note = formatNote(TEXT, [other.signatureLine('something else\n'), line, line])
    expect(verifyNote(note, [signer.key]).verified).toHaveLength(1)
    // The name alone makes no key known, and the id alone does not either.
    const sameName = keyOf(signer.keyName, Buffer.alloc(32, 3))
    expect(() => verifyNote(note, [sameName.key])).toThrow('no known key has signed it, only "acme.example/other"')
  })

  it('a wrong signature of a known key counts, whatever others say', () => {
    const note = formatNote(TEXT, [signer.signatureLine(TEXT), other.signatureLine('something else\n')])
    expect(() => verifyNote(note, [signer.key, other.key])).toThrow(
      expect.objectContaining({
        code: 'SIGNATURE_INVALID',
        message: expect.stringContaining('the signature by "acme.example/other" (key id '),
      }),
    )
  })

  it('a signature of another type, or of another text, does not verify', () => {
    const [cosigned] = parseNote(formatNote(TEXT, [signer.cosignatureLine(TEXT, 5)])).signatures
    const [signed] = parseNote(NOTE).signatures
    const [plain, timed] = [signed?.bytes ?? Buffer.alloc(0), cosigned?.bytes ?? Buffer.alloc(0)]
    expect(signer.key.verify(TEXT, plain)).toBeDefined()
    expect(signer.key.cosigner.verify(TEXT, timed)).toEqual({ key: signer.key.cosigner, seconds: 5 })
    expect(signer.key.verify(TEXT, timed)).toBeUndefined()
    expect(signer.key.cosigner.verify(TEXT, plain)).toBeUndefined()
    expect(signer.key.verify(TEXT.replace('first', 'First'), plain)).toBeUndefined()
    timed[7] = 6
    expect(signer.key.cosigner.verify(TEXT, timed)).toBeUndefined()
  })

  it('one changed character, and it is refused', () => {
    fc.assert(
      fc.property(changed(NOTE), (note) => {
        fc.pre(note !== NOTE)
        expect(() => verifyNote(note, [signer.key])).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^(SEAL|SIGNATURE)_INVALID$/) }),
        )
      }),
      { numRuns: 2_000 },
    )
  })

  const signature = NOTE.slice(TEXT.length + 1)
  it.each([
    ['no signature', TEXT, 'note: expected a signature line "\\u2014 <key name> <Base64>", found "third line"'],
    ['no empty line', 'text\n', 'note: expected an empty line between text and signatures'],
    ['an empty line at its end', `${NOTE}\n`, 'note: expected a signature line behind the empty line, found the end'],
    ['no line feed at its end', NOTE.slice(0, -1), 'note: expected a line feed at its end'],
    [
      'a hyphen for the dash',
      NOTE.replace('—', '-'),
      'expected a signature line "\\u2014 <key name> <Base64>", found "- acme',
    ],
    [
      'no key name',
      NOTE.replace(signer.keyName, ''),
      'note: in a signature line expected a key name that is not empty',
    ],
    [
      'a key name with a plus',
      NOTE.replace('agent', 'a+b'),
      'expected a key name without spaces, plus signs and control',
    ],
    ['a key name with a foreign space', NOTE.replace('agent', 'a\u00a0b'), 'found "acme.example/a\\u00a0b"'],
    ['no Base64', `${TEXT}\n— a ***\n`, 'note: expected Base64 of a key id and a signature by "a", found "***"'],
    ['Base64 of another form', `${TEXT}\n— a AAAAAAAB=\n`, 'note: expected Base64 of a key id and a signature by "a"'],
    ['a key id alone', `${TEXT}\n— a AAAAAA==\n`, 'note: expected Base64 of a key id and a signature by "a"'],
    ['a further field', NOTE.replace(/\n$/, ' x\n'), 'note: expected a signature line'],
    [
      'a carriage return',
      NOTE.replace('first line', 'first line\r'),
      'note, line 1: expected no control character but line feeds, found "\\u000d"',
    ],
    ['a tab', NOTE.replace('third', 'third\t'), 'note, line 3: expected no control character but line feeds'],
    [
      'half of a surrogate pair',
      NOTE.replace('third', '\ud800'),
      'note: expected UTF-8, found half of a surrogate pair',
    ],
    ['65 signatures', `${TEXT}\n${signature.repeat(65)}`, 'note: expected at most 64 signatures'],
    ['64 KiB', `${'x'.repeat(65_536)}\n\n${signature}`, 'note: expected at most 65535 bytes, found '],
  ])('%s is refused', (_, note, message) => {
    expect(() => parseNote(note)).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
    )
  })

  it('takes 64 signatures, and bytes that are UTF-8 alone', () => {
    expect(parseNote(`${TEXT}\n${signature.repeat(64)}`).signatures).toHaveLength(64)
    expect(() => readNote(Buffer.from([0x61, 0xff]))).toThrow('note: expected UTF-8')
    // A mark of the byte order is a part of the text, not removed from it.
    expect(readNote(Buffer.from('\ufefftext\n'))).toBe('\ufefftext\n')
  })

  it.each(['no line feed', 'a\ttab\n', 'half \ud800\n'])('a key does not sign %j', (text) => {
    expect(() => signer.sign(text)).toThrow(expect.objectContaining({ code: 'SEAL_INVALID' }))
    expect(() => signer.cosignatureLine(text, 1)).toThrow(expect.objectContaining({ code: 'SEAL_INVALID' }))
  })
})

describe('a verifier key', () => {
  const { vkey } = signer
  it.each([
    ['no parts', 'acme', 'verifier key: expected <name>+<8 hex digits>+<Base64>, found "acme"'],
    ['another id', vkey.replace(/\+[0-9a-f]{8}\+/, '+00000000+'), 'expected the key id '],
    [
      'an id in capitals',
      vkey.replace(/\+[0-9a-f]{8}\+/, (id) => id.toUpperCase().replace(/\d/g, 'A')),
      'expected the key id ',
    ],
    ['another type', 'a+00000000+AgAA', 'verifier key "a": expected an Ed25519 key of type 1 or 4'],
    ['a short key', 'a+00000000+AQAA', 'verifier key "a": expected an Ed25519 key of type 1 or 4'],
    ['no name', vkey.slice(vkey.indexOf('+')), 'verifier key: expected a key name that is not empty'],
    ['a name with a space', `a ${vkey}`, 'expected a key name without spaces'],
    ['Base64 of another form', `${vkey}=`, 'expected <name>+<8 hex digits>+<Base64>'],
  ])('%s is refused', (_, text, message) => {
    expect(() => VerifierKey.parse(text)).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
    )
  })

  it('Base64 with plus signs is read', () => {
    const plus = Array.from({ length: 200 }, () => signerFromPem(generateKey('k')).vkey).find(
      (each) => each.split('+').length > 3,
    )
    expect(plus === undefined ? '' : VerifierKey.parse(plus).vkey).toBe(plus)
  })
})
