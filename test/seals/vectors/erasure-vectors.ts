/** erasures.json: acts on data keys, signed rightly, wrongly and in another form. */
import {
  EMPTY_TRUST,
  formatErasure,
  formatNote,
  formatTrust,
  type KeySigner,
  reasonDigest,
  type SignedErasure,
  type TrustedKey,
} from '@agent-audit/seals'
import { keyOf, seedOf, type Vectors } from './fixed-keys.ts'

const START = Date.UTC(2026, 10, 23, 21)
const HOUR = 3_600_000

const erased: SignedErasure = {
  act: 'erased',
  keyId: '5a'.repeat(16),
  subjectKind: 'user',
  by: 'kim@example.com',
  identitySource: 'https://login.example.com',
  reasonSha256: reasonDigest('request 4711'),
  runId: '0197c2d4a1b27c3e9f00112233445566',
  time: START,
}

/** One of each act. */
const ERASURES: readonly SignedErasure[] = [
  { ...erased, act: 'erasing' },
  erased,
  { ...erased, act: 'admitted', subjectKind: 'session', identitySource: 'os:kim@host 1' },
]

/** Changes of the second one, one for each rule that a reader of the text keeps. */
const MALFORMED: readonly [string, string | RegExp, string][] = [
  ['another version', 'audit-erasure/v1', 'audit-erasure/v2'],
  ['lines in another order', /(key .*\n)(subject .*\n)/, '$2$1'],
  ['a line twice', /(by .*\n)/, '$1$1'],
  ['a line more', /$/, 'more\n'],
  ['a line less', /identity .*\n/, ''],
  ['two spaces', 'act ', 'act  '],
  ['no line feed at the end', /\n$/, ''],
  ['another act', 'act erased', 'act deleted'],
  ['a key in capitals', /key .*/, `key ${'5A'.repeat(16)}`],
  ['a short key', /key .*/, 'key 5a'],
  ['another kind of subject', 'subject user', 'subject team'],
  ['a person in another encoding', 'kim%40example.com', 'kim@example.com'],
  ['nobody', /by .*\n/, 'by \n'],
  ['another algorithm', 'reason sha256', 'reason sha512'],
  ['no reason', /reason .*/, 'reason none'],
  ['a run that is none', /run .*/, 'run 1'],
  ['a time without milliseconds', '.000Z', 'Z'],
]

export function erasureVectors(): Vectors {
  const [privacy, old, agent, unknown] = [
    keyOf('privacy', 12),
    keyOf('privacy', 13),
    keyOf('agent', 10),
    keyOf('privacy', 14),
  ] as const
  const trusted = ({ key }: KeySigner, change: Partial<TrustedKey> = {}): TrustedKey => ({
    key,
    role: 'eraser',
    notBefore: START,
    notAfter: undefined,
    revoked: undefined,
    ...change,
  })
  const keys = [
    trusted(privacy, { notAfter: START + 2 * HOUR }),
    trusted(old, { revoked: START + HOUR / 2 }),
    trusted(agent, { role: 'approver' }),
  ]
  const text = formatErasure(erased)
  const at = (minutes: number): string => new Date(START + minutes * 60_000).toISOString()
  const named = (cases: readonly (readonly [string, string, number])[]): Vectors[] =>
    cases.map(([what, note, minutes]) => ({ what, note, time: at(minutes) }))
  return {
    keys: [12, 13, 10, 14].map((byte, index) => ({
      seed: seedOf(byte).toString('hex'),
      vkey: [privacy, old, agent, unknown][index]?.vkey,
    })),
    trust: formatTrust({ ...EMPTY_TRUST, keys }),
    erasures: ERASURES.map(({ time, ...fields }) => ({
      fields: { ...fields, time: new Date(time).toISOString() },
      text: formatErasure({ ...fields, time }),
    })),
    valid: named([
      ...ERASURES.map((each) => [each.act, privacy.sign(formatErasure(each)), 1] as const),
      ['a key before it is revoked', old.sign(text), 29],
    ]),
    wrong: named([
      ['a revoked key', old.sign(text), 30],
      ['a key before its window', privacy.sign(text), -1],
      ['a key after its window', privacy.sign(text), 120],
      ['a key of another role', agent.sign(text), 1],
      ['an unknown key under a known name', unknown.sign(text), 1],
      ['another text', privacy.sign(text).replace('kim%40', 'lee%40'), 1],
    ]),
    malformed_notes: [
      { what: 'two signatures', note: formatNote(text, [privacy.signatureLine(text), old.signatureLine(text)]) },
      { what: 'no signature', note: `${text}\n` },
      { what: 'another text of the same key', note: privacy.sign('audit-seal/v1 producer\n') },
    ],
    malformed: MALFORMED.map(([what, from, to]) => ({ what, text: text.replace(from, to) })),
  }
}
