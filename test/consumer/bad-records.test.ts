import { NEWEST_SCHEMA } from '@agent-audit/schemas'
import { expect, it } from 'vitest'
import { encodeRecord, makeRecord } from '../support/records.ts'
import { accountOf, environmentOf, openEmbedded, openStore, rowsOf, runConsumer } from './support.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }
const good = encodeRecord(makeRecord('good', 0, { reason: 'findme' }))

/** The record with one byte changed, at `from` plus `shift`. */
function damage(from: string, shift: number, byte: number): Buffer {
  const bytes = Buffer.from(good)
  bytes[bytes.indexOf(from) + shift] = byte
  return bytes
}

const eventId = makeRecord('good', 0).event_id
const cases: readonly [name: string, value: Buffer | null, reason: string | RegExp][] = [
  ['a tombstone', null, 'tombstone: the value is null'],
  ['an empty value', Buffer.alloc(0), 'empty value'],
  [
    'text',
    Buffer.from('{"event_type":"decision"}'),
    'neither Avro single-object encoding nor the Confluent wire format',
  ],
  ['a truncated record', good.subarray(0, -1), `record ends early (field ${NEWEST_SCHEMA.fields.at(-1)?.name})`],
  ['a header alone', good.subarray(0, 10), 'record ends early (field run_id)'],
  ['bytes too many', Buffer.concat([good, Buffer.from('xy')]), '2 bytes after the last field'],
  [
    'an unknown fingerprint',
    Buffer.concat([Buffer.from('c301aaaaaaaaaaaaaaaa', 'hex'), good.subarray(10)]),
    /unknown schema fingerprint a{16}/,
  ],
  [
    'a Confluent id without a registry',
    Buffer.concat([Buffer.from('0000000007', 'hex'), good.subarray(10)]),
    /schema id 7 cannot be looked up/,
  ],
  ['invalid UTF-8', damage('findme', 2, 0xff), 'invalid UTF-8 (field reason)'],
  [
    'a UUID in upper case',
    damage(eventId, eventId.search(/[a-f]/), 0x41),
    'expected a UUID in lower case (field event_id)',
  ],
  ['a UUID with a stray letter', damage(eventId, 0, 0x7a), 'expected a UUID in lower case (field event_id)'],
  ['a union branch that is not there', damage('findme', -2, 4), 'no such union branch (field reason)'],
]

it.each(cases)(
  'keeps %s as a dead letter, with its reason and bytes, and stores its neighbours',
  async (_, value, reason) => {
    const log = await openEmbedded(store)
    const neighbours = [encodeRecord(makeRecord('n', 0)), encodeRecord(makeRecord('n', 1))] as const
    await log.append(0, [neighbours[0], value, neighbours[1]])
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 2, skipped: { dead: 1 } })
    const [row] = await rowsOf<{ log_offset: number; reason: string; bytes: string | null }>(
      store,
      log,
      'audit_skipped',
      'log_offset, reason, hex(value) AS bytes',
    )
    expect(row?.log_offset).toBe(1)
    expect(row?.bytes ?? null).toBe(value === null ? null : value.toString('hex').toUpperCase())
    expect(row?.reason).toEqual(typeof reason === 'string' ? reason : expect.stringMatching(reason))
  },
)
