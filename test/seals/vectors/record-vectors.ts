/** records.json: the bytes of records that a producer seals, and of the rows that a consumer seals. */
import { createHash } from 'node:crypto'
import {
  BufferMemory,
  type EncodedRows,
  encodeSkipped,
  EventBlock,
  type SkippedRow,
} from '@agent-audit/consumer/pipeline'
import { NEWEST_SCHEMA, readFrame, reframeToConfluent, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { leafHash } from '@agent-audit/seals'
import { fingerprintOf, FixedRun } from './fixed-runs.ts'
import type { Vectors } from './fixed-keys.ts'

const START = Date.UTC(2026, 10, 23, 21)
const LOG = { logId: Buffer.from('0123456789abcdef', 'hex'), partition: 3, topic: 'audit.events' }
/** What a number, a text or bytes can be. */
const FIELDS = {
  user_id: 'Zoë \u0000\u202e🙂',
  system_prompt_hash: Buffer.alloc(32, 0xab),
  step_number: 2 ** 40,
  input_tokens: 0,
  output_tokens: -1,
  cost_usd: -0,
  requires_approval: true,
  output_text: '',
}

export function recordVectors(): Vectors {
  const block = new EventBlock(LOG, new BufferMemory(2 ** 20))
  const records = SCHEMA_VERSIONS.map((version, index) => {
    const run = new FixedRun({
      runId: '0197c2d4a1b27c3e9f00112233445500',
      producerId: 'agent-1',
      version,
      start: START,
    })
    run.add('session 1', 'llm_call', FIELDS)
    const [message = Buffer.alloc(0)] = run.events
    const frame = readFrame(message)
    const start = frame.kind === 'single-object' ? frame.bodyStart : 0
    const [offset, time] = [1000 + index, START + 5 + index]
    block.append(message, start, version, offset, time)
    const body = message.subarray(start)
    return {
      schema: fingerprintOf(version),
      fields: shown(version.avroType.fromBuffer(body) as Readonly<Record<string, unknown>>),
      record: body.toString('hex'),
      single_object: message.toString('hex'),
      registry: reframeToConfluent(message, 7).toString('hex'),
      leaf: leafHash(body).toString('hex'),
      row: {
        log_id: LOG.logId.toString('hex'),
        log_partition: LOG.partition,
        log_offset: offset,
        log_time: new Date(time).toISOString(),
        writer_schema: BigInt.asIntN(64, version.fingerprint).toString(),
        bytes: block.view(index).toString('hex'),
      },
    }
  })
  const events = digestOf(block.close())
  block.release()
  return { newest_schema: fingerprintOf(NEWEST_SCHEMA), records, events, ...skippedRows() }
}

function digestOf({ count, data }: EncodedRows): Vectors {
  const digest = createHash('sha256')
  for (const piece of data) digest.update(piece)
  return { count, digest: digest.digest('base64') }
}

/** One of each kind. */
function skippedRows(): Vectors {
  const identity = { runId: Buffer.from('0197c2d4a1b27c3e9f00112233445500', 'hex'), runSeq: 0 }
  const record = { key: null, value: Buffer.from('no record'), headers: { from: Buffer.from('elsewhere') } }
  const rows: Pick<SkippedRow, 'kind' | 'reason' | 'identity' | 'record'>[] = [
    { kind: 'duplicate', reason: 'the same record is stored', identity, record: undefined },
    { kind: 'dead', reason: 'unknown framing', identity: undefined, record: record as never },
    { kind: 'hole', reason: 'no record', identity: undefined, record: undefined },
  ]
  const encoded = rows.map((row, index) => {
    const skipped = [{ ...row, offset: 1010 + index, logTimeMs: START + 10 + index }]
    return encodeSkipped(LOG, { retentionClass: 'default', skipped })
  })
  const skipped = encoded.map(({ data }, index) => {
    const { kind, reason } = rows[index] ?? {}
    return { kind, reason, log_offset: 1010 + index, bytes: Buffer.concat(data).toString('hex') }
  })
  const all = encoded.flatMap(({ data }) => data)
  return { skipped_rows: skipped, skipped: digestOf({ count: rows.length, bytes: 0, data: all }) }
}

/** Without the fields that are null; bytes are hex, and numbers that JSON does not have are texts. */
function shown(fields: Readonly<Record<string, unknown>>): Vectors {
  const given = Object.entries(fields).filter(([, value]) => value !== null)
  return Object.fromEntries(
    given.map(([name, value]) => {
      if (Object.is(value, -0)) return [name, '-0']
      return [name, value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value]
    }),
  )
}
