/** The text of an erasure has one form, its note counts by an eraser's key, and an event of the trail must say what is signed. */
import { readFileSync } from 'node:fs'
import {
  type ErasureEvent,
  erasureFault,
  formatErasure,
  parseErasure,
  parseTrust,
  reasonDigest,
  type SignedErasure,
  verifyErasure,
} from '@agent-audit/seals'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { changed } from './seal-arbitraries.ts'
import { keyOf } from './vectors/fixed-keys.ts'

const hex = (digits: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`))
const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
const erasures: fc.Arbitrary<SignedErasure> = fc.record({
  act: fc.constantFrom('erasing', 'erased', 'admitted'),
  keyId: hex(32),
  subjectKind: fc.constantFrom('user', 'session'),
  by: name,
  identitySource: name,
  reasonSha256: hex(64),
  runId: hex(32),
  time: fc.integer({ min: 0, max: Date.UTC(2200, 0) }),
})

describe('the text of an erasure', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(erasures, (erasure) => {
        expect(parseErasure(formatErasure(erasure))).toEqual(erasure)
      }),
    )
  })

  it('has one form: each changed text is refused, or written again as it was', () => {
    const changes = erasures.chain((erasure) => changed(formatErasure(erasure)))
    fc.assert(
      fc.property(changes, (text) => {
        let again = text
        try {
          again = formatErasure(parseErasure(text))
        } catch (error) {
          expect(error).toMatchObject({ code: 'SEAL_INVALID' })
        }
        expect(again).toBe(text)
      }),
      { numRuns: 2_000 },
    )
  })
})

interface Case {
  readonly what: string
  readonly note: string
  readonly time: string
}
const file = JSON.parse(readFileSync(new URL('../../seals/vectors/erasures.json', import.meta.url), 'utf8')) as {
  trust: string
  erasures: { fields: Record<string, unknown>; text: string }[]
  valid: Case[]
  wrong: Case[]
  malformed_notes: { what: string; note: string }[]
  malformed: { what: string; text: string }[]
}
const trust = parseTrust(file.trust)
const verify = ({ note, time }: Case) => verifyErasure(note, trust, Date.parse(time))

describe('erasures.json', () => {
  it('has the fields of its texts', () => {
    for (const { fields, text } of file.erasures) {
      const { time, ...rest } = parseErasure(text)
      expect({ ...rest, time: new Date(time).toISOString() }).toEqual(fields)
    }
  })

  it.each(file.valid)('$what counts', (each) => {
    expect(verify(each).key.role).toBe('eraser')
  })

  it.each(file.wrong)('$what does not count', (each) => {
    expect(() => verify(each)).toThrow(expect.objectContaining({ code: 'SIGNATURE_INVALID' }))
  })

  it.each(file.malformed_notes)('$what is no note of an erasure', ({ note }) => {
    expect(() => verifyErasure(note, trust, 0)).toThrow(expect.objectContaining({ code: 'SEAL_INVALID' }))
  })

  it.each(file.malformed)('$what is refused', ({ text }) => {
    expect(file.erasures.map((each) => each.text)).not.toContain(text)
    expect(() => parseErasure(text)).toThrow(expect.objectContaining({ code: 'SEAL_INVALID' }))
  })
})

describe('an event of an erasure', () => {
  const signed = parseErasure(file.erasures[1]?.text ?? '')
  const signature = file.valid[1]?.note
  const content = {
    key_id: signed.keyId,
    subject_kind: signed.subjectKind,
    identity_source: signed.identitySource,
    erasing: 'an event',
    signature,
  }
  const event: ErasureEvent = {
    event_type: 'subject.erased',
    run_id: signed.runId,
    approver_id: signed.by,
    reason: 'request 4711',
    content: JSON.stringify(content),
  }
  const at = Date.parse(file.valid[1]?.time ?? '')

  it('counts with an eraser’s signature of what it says', () => {
    expect(reasonDigest('request 4711')).toBe(signed.reasonSha256)
    expect(erasureFault(event, trust, at)).toBeUndefined()
  })

  const change = (more: object): Partial<ErasureEvent> => ({ content: JSON.stringify({ ...content, ...more }) })
  it.each([
    ['event_type', { event_type: 'subject.admitted' }],
    ['run_id', { run_id: '00'.repeat(16) }],
    ['approver_id', { approver_id: 'lee@example.com' }],
    ['approver_id', { approver_id: null }],
    ['reason', { reason: 'another' }],
    ['reason', { reason: null }],
    ['key_id', change({ key_id: '00'.repeat(16) })],
    ['subject_kind', change({ subject_kind: 'session' })],
    ['identity_source', change({ identity_source: 'elsewhere' })],
  ])('is forged where %s is not what was signed', (field, other) => {
    expect(erasureFault({ ...event, ...other }, trust, at)).toEqual({
      kind: 'forged',
      why: `its signature is of another erasure: ${field} differ`,
    })
  })

  it('is forged by a key that does not count, and unsigned without a signature, or without content', () => {
    const other = keyOf('privacy', 14).sign(file.erasures[1]?.text ?? '')
    expect(erasureFault({ ...event, ...change({ signature: other }) }, trust, at)).toMatchObject({ kind: 'forged' })
    expect(erasureFault({ ...event, ...change({ signature: 'no note' }) }, trust, at)).toMatchObject({ kind: 'forged' })
    for (const none of [JSON.stringify({ ...content, signature: 7 }), null, '"text"', 'null', '{"cut']) {
      expect(erasureFault({ ...event, content: none }, trust, at)).toMatchObject({ kind: 'unsigned' })
    }
  })
})
