/** The text of a signed decision has one form, and a note of it counts for one approver, by one key, in its window. */
import { readFileSync } from 'node:fs'
import {
  formatApproval,
  parseApproval,
  parseTrust,
  readApproval,
  type SignedApproval,
  verifyApproval,
} from '@agent-audit/seals'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { changed } from './seal-arbitraries.ts'

const hex = fc.stringMatching(/^[0-9a-f]{64}$/)
const id = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
const time = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2200, 0) })
const approvals: fc.Arbitrary<SignedApproval> = fc
  .record({
    id: fc.uuid(),
    sessionId: id,
    toolName: id,
    onBehalfOf: fc.option(id, { nil: undefined }),
    argumentsSha256: hex,
    other: hex,
    isModified: fc.boolean(),
    decision: fc.constantFrom('approved', 'rejected', 'overridden'),
    approverKind: fc.constantFrom('person', 'policy', 'agent'),
    approverId: id,
    identitySource: id,
    shownSha256: fc.option(hex, { nil: undefined }),
    decidedAt: time,
    lifetime: fc.integer({ min: 1, max: 366 * 86_400_000 }),
  })
  .map(({ other, isModified, lifetime, ...approval }) => {
    const isOverride = approval.decision === 'overridden'
    return {
      ...approval,
      askedSha256:
        isModified && approval.decision === 'approved' && other !== approval.argumentsSha256 ? other : undefined,
      approverKind: isOverride ? 'person' : approval.approverKind,
      shownSha256: isOverride ? undefined : approval.shownSha256,
      expiresAt: approval.decidedAt + lifetime,
    }
  })

describe('the text of an approval', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(approvals, (approval) => {
        expect(parseApproval(formatApproval(approval))).toEqual(approval)
      }),
    )
  })

  it('has one form: each changed text is refused, or written again as it was', () => {
    const changes = approvals.chain((approval) => {
      const text = formatApproval(approval)
      return changed(text)
    })
    fc.assert(
      fc.property(changes, (text) => {
        let again = text
        try {
          again = formatApproval(parseApproval(text))
        } catch (error) {
          expect(error).toMatchObject({ code: 'SEAL_INVALID' })
        }
        expect(again).toBe(text)
      }),
      { numRuns: 3_000 },
    )
  })

  it('names the line that is wrong, and has a limit', () => {
    const [{ text } = { text: '' }] = file.approvals
    expect(() => parseApproval(text.replace(/tool .*/, 'tool a b'))).toThrow(
      'approval, line 4: expected "tool <percent-encoded tool_name>", found "tool a b"',
    )
    const long = { ...parseApproval(text), identitySource: 'x'.repeat(16_384) }
    expect(() => formatApproval(long)).toThrow(/at most 16384 bytes/)
  })
})

interface Case {
  readonly what: string
  readonly note: string
  readonly time: string
}
const file = JSON.parse(readFileSync(new URL('../../seals/vectors/approvals.json', import.meta.url), 'utf8')) as {
  trust: string
  approvals: { fields: Record<string, unknown>; text: string }[]
  valid: Case[]
  wrong: Case[]
  malformed_notes: { what: string; note: string }[]
  malformed: { what: string; text: string }[]
}

describe('approvals.json', () => {
  const trust = parseTrust(file.trust)
  const verify = ({ note, time: at }: Case) => verifyApproval(note, trust, Date.parse(at))

  it('has the fields of its texts', () => {
    for (const { fields, text } of file.approvals) {
      const {
        decidedAt,
        expiresAt,
        onBehalfOf = null,
        askedSha256 = null,
        shownSha256 = null,
        ...rest
      } = parseApproval(text)
      const [decided, expires] = [decidedAt, expiresAt].map((at) => new Date(at).toISOString())
      expect({ ...rest, onBehalfOf, askedSha256, shownSha256, decidedAt: decided, expiresAt: expires }).toEqual(fields)
    }
  })

  it.each(file.valid)('$what counts', (each) => {
    expect(verify(each)).toEqual({ approval: readApproval(each.note).approval, key: expect.any(Object) })
  })

  it.each(file.wrong)('$what does not count', (each) => {
    expect(() => verify(each)).toThrow(expect.objectContaining({ code: 'SIGNATURE_INVALID' }))
  })

  it.each(file.malformed_notes)('$what is no note of an approval', ({ note }) => {
    expect(() => readApproval(note)).toThrow(expect.objectContaining({ code: 'SEAL_INVALID' }))
  })

  it.each(file.malformed)('$what is refused', ({ text }) => {
    expect(file.approvals.map((each) => each.text)).not.toContain(text)
    expect(() => parseApproval(text)).toThrow(expect.objectContaining({ code: 'SEAL_INVALID' }))
  })
})
