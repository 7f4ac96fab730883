/** The texts of the two seals: one form each, and nothing else is taken for one. */
import {
  type ConsumerSeal,
  formatConsumerSeal,
  formatProducerSeal,
  idOfKeyName,
  keyNameOf,
  MAX_NOTE_BYTES,
  MAX_SEAL_RANGES,
  parseConsumerSeal,
  parseProducerSeal,
  type ProducerSeal,
} from '@agent-audit/seals'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { changed, consumerSeals, producerSeals } from './seal-arbitraries.ts'

const HASH = Buffer.alloc(32, 7)
const BASE64 = HASH.toString('base64')
const RUN = '0123456789abcdef0123456789abcdef'

const seal: ProducerSeal = {
  topic: 'audit.events',
  producerId: 'acme/checkout agent+1',
  runId: RUN,
  number: 4,
  first: 100,
  last: 109,
  count: 7,
  schema: '00112233445566aa',
  digest: HASH,
  gaps: [
    { first: 101, last: 102 },
    { first: 109, last: 109 },
  ],
  undelivered: [
    { first: 3, last: 5, code: 'RECORD_TOO_LARGE' },
    { first: 104, last: 104, code: 'SPOOL_FULL' },
  ],
  prev: HASH,
  time: Date.UTC(2026, 10, 23, 21, 0, 0, 5),
  state: { kind: 'open' },
}

const TEXT = `audit-seal/v1 producer
topic audit.events
producer acme%2Fcheckout%20agent%2B1
run ${RUN}
number 4
range 100 109
count 7
schema 00112233445566aa
digest list-sha256 ${BASE64}
gap 101 102
gap 109 109
undelivered 3 5 RECORD_TOO_LARGE
undelivered 104 104 SPOOL_FULL
prev sha256 ${BASE64}
time 2026-11-23T21:00:00.005Z
state open
`

const consumerSeal: ConsumerSeal = {
  logId: '00112233445566aa',
  topic: 'audit.events',
  partition: 3,
  first: 0,
  last: 99,
  rows: 1,
  events: { count: 98, digest: HASH },
  skipped: { count: 2, digest: HASH },
  prev: undefined,
}

const CONSUMER_TEXT = `audit-seal/v1 consumer
log 00112233445566aa audit.events
partition 3
range 0 99
rows 1
events 98 sha256 ${BASE64}
skipped 2 sha256 ${BASE64}
prev none
`

it('a producer seal has the form of docs/integrity.md', () => {
  expect(formatProducerSeal(seal)).toBe(TEXT)
  expect(parseProducerSeal(TEXT)).toEqual(seal)
})

it('a heartbeat, a closing seal and an adopted tail', () => {
  const empty = { ...seal, first: 0, last: -1, count: 0, gaps: [], undelivered: [], number: 0, prev: undefined }
  for (const state of [{ kind: 'closed' }, { kind: 'adopted', by: 'f'.repeat(32) }] as const) {
    const text = formatProducerSeal({ ...empty, state })
    expect(text).toContain('range 0 -1\ncount 0\n')
    expect(text).toContain('prev none\n')
    expect(parseProducerSeal(text)).toEqual({ ...empty, state })
  }
})

it('a consumer seal has the form of docs/integrity.md', () => {
  expect(formatConsumerSeal(consumerSeal)).toBe(CONSUMER_TEXT)
  expect(parseConsumerSeal(CONSUMER_TEXT)).toEqual(consumerSeal)
})

it('any seal comes back as it was', () => {
  fc.assert(
    fc.property(producerSeals, consumerSeals, (produced, consumed) => {
      expect(parseProducerSeal(formatProducerSeal(produced))).toEqual(produced)
      expect(parseConsumerSeal(formatConsumerSeal(consumed))).toEqual(consumed)
    }),
  )
})

it('a text has one form alone: a change of one character is refused, or is the form of another seal', () => {
  const texts = fc.oneof(
    producerSeals.map(
      (each) => [formatProducerSeal(each), (text: string) => formatProducerSeal(parseProducerSeal(text))] as const,
    ),
    consumerSeals.map(
      (each) => [formatConsumerSeal(each), (text: string) => formatConsumerSeal(parseConsumerSeal(text))] as const,
    ),
  )
  const cases = texts.chain(([text, again]) => changed(text).map((other) => [other, again] as const))
  let accepted = 0
  fc.assert(
    fc.property(cases, ([text, again]) => {
      let formed: string
      try {
        formed = again(text)
      } catch (error) {
        expect(error).toMatchObject({ code: 'SEAL_INVALID' })
        return
      }
      accepted += 1
      expect(formed).toBe(text)
    }),
    { numRuns: 2_000 },
  )
  expect(accepted).toBeGreaterThan(0)
})

it('an id that UTF-8 cannot hold counts as in the record: with U+FFFD', () => {
  expect(keyNameOf('a\ud800')).toBe('a%EF%BF%BD')
  expect(['a%2fb', 'a b', 'a%', '', 'a%FF', 'ä'].map(idOfKeyName)).toEqual(Array(6).fill(undefined))
})

it('the largest seal fits in a leaf of the seal log', () => {
  const first = Number.MAX_SAFE_INTEGER - 3 * MAX_SEAL_RANGES
  const code = 'A'.repeat(64)
  const undelivered = Array.from({ length: MAX_SEAL_RANGES }, (_, index) => {
    return { first: first + 2 * index, last: first + 2 * index, code }
  })
  const last = Number.MAX_SAFE_INTEGER - 1
  const large = { ...seal, first, last, count: last - first + 1, gaps: [], undelivered }
  expect(Buffer.byteLength(formatProducerSeal(large))).toBeLessThan(MAX_NOTE_BYTES - 4_096)
  const more = { ...large, undelivered: [...undelivered, { first: last, last, code }] }
  expect(() => formatProducerSeal(more)).toThrow('at most 512 lines "gap" and "undelivered"')
})

const line = (number: number, put: string): string =>
  TEXT.split('\n')
    .map((each, index) => (index === number - 1 ? put : each))
    .join('\n')

describe('a malformed producer seal names its line and what is expected there', () => {
  it.each([
    ['no end', TEXT.slice(0, -1), 'producer seal: expected a line feed at its end'],
    ['another head', line(1, 'audit-seal/v2 producer'), 'line 1: expected "audit-seal/v1 producer", found'],
    ['no topic', line(2, 'topic'), 'line 2: expected "topic <topic>"'],
    ['a topic with a slash', line(2, 'topic a/b'), 'line 2: expected "topic <topic>"'],
    ['a producer that is not encoded', line(3, 'producer acme/a'), 'line 3: expected "producer <percent-encoded'],
    ['a producer in another encoding', line(3, 'producer %61cme'), 'line 3: expected "producer <percent-encoded'],
    ['a short run', line(4, `run ${RUN.slice(1)}`), 'line 4: expected "run <32 hex digits>"'],
    ['a run in capitals', line(4, `run ${RUN.toUpperCase()}`), 'line 4: expected "run <32 hex digits>"'],
    ['a number with a zero before it', line(5, 'number 04'), 'line 5: expected "number <n>"'],
    ['a number with a sign', line(5, 'number +4'), 'line 5: expected "number <n>"'],
    ['a number above 2^53', line(5, 'number 9007199254740992'), 'line 5: expected "number <n>"'],
    [
      'a range that runs back',
      line(6, 'range 100 98'),
      'line 6: expected "range <first> <last>" with last >= first - 1',
    ],
    ['two spaces', line(6, 'range 100  109'), 'line 6: expected "range <first> <last>"'],
    ['a carriage return', line(6, 'range 100 109\r'), 'line 6: expected "range <first> <last>"'],
    ['no count', line(7, 'schema 00112233445566aa'), 'line 7: expected "count <n>"'],
    ['another count', line(7, 'count 8'), 'producer seal: expected "count 7", the range without its gaps'],
    ['a short fingerprint', line(8, 'schema 0011'), 'line 8: expected "schema <16 hex digits>"'],
    [
      'another digest',
      line(9, `digest sha256 ${BASE64}`),
      'line 9: expected "digest list-sha256 <Base64 of 32 bytes>"',
    ],
    ['a short digest', line(9, 'digest list-sha256 AAAA'), 'line 9: expected "digest list-sha256'],
    [
      'Base64 of another form',
      line(9, `digest list-sha256 ${BASE64.slice(0, -2)}d=`),
      'line 9: expected "digest list-sha256',
    ],
    ['a gap below the range', line(10, 'gap 99 102'), 'line 10: expected a gap within the range 100 109'],
    ['gaps that touch', line(11, 'gap 103 109'), 'line 11: expected a gap above 103: they ascend and do not touch'],
    ['a gap without an end', line(10, 'gap 101'), 'line 10: expected "gap <first> <last>"'],
    [
      'an undelivered range of later',
      line(13, 'undelivered 104 110 SPOOL_FULL'),
      'line 13: expected an undelivered range that ends at 109',
    ],
    [
      'undelivered ranges that overlap',
      line(13, 'undelivered 5 104 SPOOL_FULL'),
      'line 13: expected an undelivered range above 5',
    ],
    [
      'a code in small letters',
      line(12, 'undelivered 3 5 full'),
      'line 12: expected "undelivered <first> <last> <CODE>"',
    ],
    ['no hash of the seal before', line(14, 'prev none'), 'expected "prev none" for number 0, and for no other number'],
    [
      'another hash',
      line(14, `prev sha1 ${BASE64}`),
      'line 14: expected "prev sha256 <Base64 of 32 bytes>" or "prev none"',
    ],
    [
      'a time without milliseconds',
      line(15, 'time 2026-11-23T21:00:00Z'),
      'line 15: expected "time <YYYY-MM-DDThh:mm:ss.sssZ>"',
    ],
    [
      'a time that is none',
      line(15, 'time 2026-02-30T21:00:00.000Z'),
      'line 15: expected "time <YYYY-MM-DDThh:mm:ss.sssZ>"',
    ],
    ['a time elsewhere', line(15, 'time 2026-11-23T21:00:00.000+01:00'), 'line 15: expected "time'],
    [
      'another state',
      line(16, 'state ended'),
      'line 16: expected "state open", "state closed" or "state adopted <32 hex digits>"',
    ],
    [
      'adoption by itself',
      line(16, `state adopted ${RUN}`),
      'expected the 32 hex digits of another run as the adopter',
    ],
    ['a further line', `${TEXT}more\n`, 'line 17: expected no further line, found "more"'],
    ['lines in another order', TEXT.replace(/(count .*\n)(schema .*\n)/, '$2$1'), 'line 7: expected "count <n>"'],
    [
      'a cut text',
      TEXT.split('\n').slice(0, 8).join('\n') + '\n',
      'line 9: expected "digest list-sha256 <Base64 of 32 bytes>", found the end',
    ],
    ['escapes of a terminal', line(16, 'state \u001b[31m\u202e"é'), 'found "state \\u001b[31m\\u202e\\u0022\\u00e9"'],
  ])('%s', (_, text, message) => {
    expect(text).not.toBe(TEXT)
    expect(() => parseProducerSeal(text)).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
    )
  })
})

describe('a malformed consumer seal names its line and what is expected there', () => {
  const put = (from: string, to: string): string => CONSUMER_TEXT.replace(from, to)
  it.each([
    ['a producer seal', TEXT, 'consumer seal, line 1: expected "audit-seal/v1 consumer"'],
    ['no topic', put(' audit.events', ''), 'line 2: expected "log <16 hex digits> <topic>"'],
    ['a topic with a slash', put('audit.events', 'audit/events'), 'line 2: expected "log <16 hex digits> <topic>"'],
    ['a negative partition', put('partition 3', 'partition -3'), 'line 3: expected "partition <p>"'],
    ['an empty range', put('range 0 99', 'range 100 99'), 'line 4: expected "range <first> <last>" with last >= first'],
    ['other rows', put('rows 1', 'rows 2'), 'line 5: expected "rows 1"'],
    [
      'more events than offsets',
      put('events 98', 'events 101'),
      'consumer seal: expected at most 100 events, one for each offset',
    ],
    ['no digest', put(`events 98 sha256 ${BASE64}`, 'events 98 sha256'), 'line 6: expected "events <count> sha256'],
    ['another digest', put('skipped 2 sha256', 'skipped 2 sha512'), 'line 7: expected "skipped <count> sha256'],
    [
      'no prev',
      put('prev none\n', ''),
      'line 8: expected "prev sha256 <Base64 of 32 bytes>" or "prev none", found the end',
    ],
    ['a further line', `${CONSUMER_TEXT}\n`, 'line 9: expected no further line'],
  ])('%s', (_, text, message) => {
    expect(text).not.toBe(CONSUMER_TEXT)
    expect(() => parseConsumerSeal(text)).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
    )
  })
})

it.each<[string, Partial<ProducerSeal>]>([
  ['expected a producer_id that is not empty', { producerId: '' }],
  ['expected a run of 32 hex digits', { runId: 'run' }],
  ['expected a schema fingerprint of 16 hex digits', { schema: '1' }],
  ['expected whole numbers of 0 or more', { number: -1 }],
  ['expected whole numbers of 0 or more', { first: 0.5 }],
  ['expected a range that ends at 99 or above', { last: 98 }],
  ['expected "count 7", the range without its gaps', { count: 6 }],
  ['expected 32 bytes of digest, found 31', { digest: HASH.subarray(1) }],
  ['expected 32 bytes of prev, found 33', { prev: Buffer.alloc(33) }],
  ['expected a time in the years 0 to 9999', { time: Number.NaN }],
  ['expected a time in the years 0 to 9999', { time: Date.UTC(10_000, 0) }],
  ['expected a topic of 1 to 249', { topic: 'a\nb' }],
  ['a gap within the range 100 109', { gaps: [{ first: 109, last: 110 }] }],
  ['"gap <first> <last>" with last >= first', { gaps: [{ first: 105, last: 104 }] }],
  ['"undelivered <first> <last> <CODE>"', { undelivered: [{ first: 1, last: 1, code: 'a b' }] }],
])('a seal that contradicts itself is not written: %s', (message, change) => {
  expect(() => formatProducerSeal({ ...seal, ...change })).toThrow(
    expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
  )
})
