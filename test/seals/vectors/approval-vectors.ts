/** approvals.json: decisions and overrides, signed rightly, wrongly and in another form. */
import {
  EMPTY_TRUST,
  formatApproval,
  formatNote,
  formatTrust,
  type KeySigner,
  type SignedApproval,
  type TrustedKey,
} from '@agent-audit/seals'
import { keyOf, seedOf, type Vectors } from './fixed-keys.ts'

const START = Date.UTC(2026, 10, 23, 21)
const HOUR = 3_600_000

const approved: SignedApproval = {
  id: '0197c2d4-a1b2-7c3e-9f00-112233445566',
  sessionId: 'order 4711',
  toolName: 'send_payment',
  onBehalfOf: undefined,
  argumentsSha256: '11'.repeat(32),
  askedSha256: undefined,
  decision: 'approved',
  approverKind: 'person',
  approverId: 'kim@example.com',
  identitySource: 'https://login.example.com',
  shownSha256: '11'.repeat(32),
  decidedAt: START,
  expiresAt: START + HOUR,
}

/** One of each decision; the arguments of the second were modified. */
const APPROVALS: readonly SignedApproval[] = [
  approved,
  {
    ...approved,
    onBehalfOf: 'lee & sons',
    argumentsSha256: '22'.repeat(32),
    askedSha256: '11'.repeat(32),
    shownSha256: '33'.repeat(32),
  },
  { ...approved, decision: 'rejected', approverKind: 'policy', approverId: 'limits/v2' },
  { ...approved, decision: 'overridden', id: '5f0c9a52-6f5e-4c31-8d1c-7a3c2f0e9b11', shownSha256: undefined },
]

function fieldsOf({ onBehalfOf, askedSha256, shownSha256, decidedAt, expiresAt, ...rest }: SignedApproval): Vectors {
  const times = { decidedAt: new Date(decidedAt).toISOString(), expiresAt: new Date(expiresAt).toISOString() }
  return {
    ...rest,
    onBehalfOf: onBehalfOf ?? null,
    askedSha256: askedSha256 ?? null,
    shownSha256: shownSha256 ?? null,
    ...times,
  }
}

/** Changes of the second approval, one for each rule that a reader of the text keeps. */
const MALFORMED: readonly [string, string | RegExp, string][] = [
  ['another version', 'audit-approval/v1', 'audit-approval/v2'],
  ['lines in another order', /(session .*\n)(tool .*\n)/, '$2$1'],
  ['a line twice', /(tool .*\n)/, '$1$1'],
  ['a line more', /$/, 'more\n'],
  ['a line less', /shown .*\n/, ''],
  ['two spaces', 'tool ', 'tool  '],
  ['no line feed at the end', /\n$/, ''],
  ['a UUID in capitals', /id .*/, 'id 0197C2D4-A1B2-7C3E-9F00-112233445566'],
  ['an id that is none', /id .*/, 'id 1'],
  ['a session in another encoding', 'order%204711', 'order+4711'],
  ['nobody whose authority it uses', /behalf .*/, 'behalf of '],
  ['a principal in another encoding', 'lee%20%26%20sons', 'lee%20&%20sons'],
  ['no word on the principal', /behalf .*\n/, ''],
  ['no arguments', /arguments .*/, 'arguments none'],
  ['a digest in capitals', /asked .*/, `asked sha256 ${'AB'.repeat(32)}`],
  ['a short digest', /shown .*/, 'shown sha256 33'],
  ['another algorithm', 'shown sha256', 'shown sha512'],
  ['another decision', 'decision approved', 'decision granted'],
  ['a rejection with modified arguments', 'decision approved', 'decision rejected'],
  ['modified arguments that are those asked for', /asked .*/, `asked sha256 ${'22'.repeat(32)}`],
  ['another kind of approver', 'approver person', 'approver robot'],
  ['no source of the identity', /identity .*\n/, 'identity \n'],
  ['a time without milliseconds', '.000Z', 'Z'],
  ['a decision after it expires', /expires .*/, 'expires 2026-11-23T21:00:00.000Z'],
]

function named(cases: readonly (readonly string[])[]): Vectors[] {
  return cases.map(([what, note, time]) => (time === undefined ? { what, note } : { what, note, time }))
}

export function approvalVectors(): Vectors {
  const [desk, kim, old, agent, unknown] = [
    keyOf('approval%20desk', 7),
    keyOf('kim%40example.com', 8),
    keyOf('approval%20desk', 9),
    keyOf('agent', 10),
    keyOf('approval%20desk', 11),
  ] as const
  const trusted = ({ key }: KeySigner, change: Partial<TrustedKey> = {}): TrustedKey => ({
    key,
    role: 'approver',
    notBefore: START,
    notAfter: undefined,
    revoked: undefined,
    ...change,
  })
  const trust = formatTrust({
    ...EMPTY_TRUST,
    keys: [
      trusted(desk, { notAfter: START + 2 * HOUR }),
      trusted(kim),
      trusted(old, { revoked: START + HOUR / 2 }),
      trusted(agent, { role: 'producer' }),
    ],
    services: ['approval desk'],
  })
  const text = formatApproval(approved)
  const modified = formatApproval(APPROVALS[1] ?? approved)
  const at = (minutes: number): string => new Date(START + minutes * 60_000).toISOString()
  const valid: [string, string, string][] = [
    ...APPROVALS.map((each): [string, string, string] => [each.decision, desk.sign(formatApproval(each)), at(1)]),
    ['the own key of the approver', kim.sign(text), at(1)],
    ['a key before it is revoked', old.sign(text), at(29)],
  ]
  const wrong: [string, string, string][] = [
    ['a revoked key', old.sign(text), at(30)],
    ['a key before its window', desk.sign(text), at(-1)],
    ['a key after its window', desk.sign(text), at(120)],
    ['a key of another role', agent.sign(text), at(1)],
    ['an unknown key under a known name', unknown.sign(text), at(1)],
    ['the key of another approver', kim.sign(formatApproval({ ...approved, approverId: 'lee@example.com' })), at(1)],
    ['another text', desk.sign(text).replace('send_payment', 'send_salary'), at(1)],
  ]
  const malformed = [
    ['two signatures', formatNote(text, [desk.signatureLine(text), kim.signatureLine(text)])],
    ['no signature', `${text}\n`],
    ['another text of the same key', desk.sign('audit-seal/v1 producer\n')],
  ]
  return {
    keys: [desk, kim, old, agent, unknown].map(({ vkey }, index) => ({
      seed: seedOf(7 + index).toString('hex'),
      vkey,
    })),
    trust,
    approvals: APPROVALS.map((each) => ({ fields: fieldsOf(each), text: formatApproval(each) })),
    valid: named(valid),
    wrong: named(wrong),
    malformed_notes: named(malformed),
    malformed: MALFORMED.map(([what, from, to]) => ({ what, text: modified.replace(from, to) })),
  }
}
