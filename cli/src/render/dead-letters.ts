/** Dead letters for people and for programs: the list, one with its bytes, and the report of a replay. */
import type { DeadLetter, DeadRecord, RecordPosition } from '@agent-audit/analytics'
import type { Opened } from '../dead-record.ts'
import type { Replayed } from '../replay-dead-letters.ts'
import { type Column, padded, table } from './table.ts'
import { asJson, counted, dayAndTime, figure, optionalFigure, type Paint, printable, shortened } from './text.ts'

const REASON_LENGTH = 100
const TEXT_LENGTH = 200
const SHOWN_BYTES = 1024
const BYTES_A_LINE = 16

const COLUMNS: readonly Column<DeadLetter>[] = [
  { title: 'POSITION', value: ({ position }) => position },
  { title: 'TOPIC', value: ({ topic }) => printable(topic ?? '(not registered)') },
  { title: 'TIME (UTC)', value: ({ log_time }) => dayAndTime(log_time) },
  { title: 'BYTES', value: ({ bytes }) => optionalFigure(bytes), right: true },
  { title: 'REPLAYED AS', value: ({ replayed_as }) => (replayed_as === null ? '-' : positionText(replayed_as)) },
  { title: 'REASON', value: ({ reason }) => shortened(reason, REASON_LENGTH) },
]

export function deadLetterList(letters: readonly DeadLetter[], paint: Paint): string {
  return table(COLUMNS, letters, paint)
}

/** One JSON object: bytes in hex, fields as recorded. */
export function deadLetterJson(record: DeadRecord, opened: Opened): string {
  const { key, value, ...told } = record
  const fields = opened.whole ? opened.event : opened.fields
  const whole = { ...told, key_hex: hexOf(key), value_hex: hexOf(value), readable: opened.whole, fields }
  return asJson(whole, (_, given) => plain(given))
}

export interface PageOptions {
  /** Whether texts and bytes are uncut. */
  readonly full: boolean
  readonly paint: Paint
}

export function deadLetterPage(record: DeadRecord, opened: Opened, { full, paint }: PageOptions): string {
  const text = (given: string): string => (full ? printable(given, true) : shortened(given, TEXT_LENGTH))
  const line = (name: string, given: string): string =>
    `${paint('dim', padded(name, 24))} ${given.replaceAll('\n', `\n${' '.repeat(25)}`)}\n`
  const replay = record.replayed_as === null ? 'not replayed' : `replayed as ${positionText(record.replayed_as)}`
  const [kind, state] = record.kind === 'dead' ? ['dead letter', ` · ${replay}`] : ['duplicate', '']
  const fields = Object.entries(opened.whole ? opened.event : opened.fields).filter(([, given]) => given !== null)
  return [
    `${paint('bold', `${kind} ${record.position}`)} · ${printable(record.topic ?? '(not registered)')} · ${record.log_time}${state}\n`,
    line('reason', printable(record.reason)),
    record.run_id === null ? '' : line('run_id, run_seq', `${record.run_id}, ${record.run_seq ?? '-'}`),
    line('key', record.key === null ? '-' : text(record.key.toString())),
    line('headers', record.headers === null ? '-' : text(record.headers)),
    `\n${opened.whole ? 'It can be read as an event:' : `It cannot be read as an event (${printable(opened.reason)})`}`,
    opened.whole ? '\n' : `; ${fields.length === 0 ? 'no field can be read' : 'the fields before the error'}:\n`,
    ...fields.map(([name, given]) => line(name, text(asText(given)))),
    `\n${record.value === null ? 'no value' : counted(record.value.length, 'byte')}\n`,
    record.value === null ? '' : hexDump(full ? record.value : record.value.subarray(0, SHOWN_BYTES)),
    !full && (record.value?.length ?? 0) > SHOWN_BYTES ? `cut at ${figure(SHOWN_BYTES)} bytes; --full shows all\n` : '',
  ].join('')
}

const RESULT_COLUMNS: readonly Column<Replayed>[] = [
  { title: 'POSITION', value: ({ position }) => position },
  { title: 'OUTCOME', value: ({ outcome }) => outcome },
  { title: 'EVENT', value: ({ event_id }) => event_id ?? '-' },
  { title: 'REASON', value: ({ reason }) => (reason === null ? '' : shortened(reason, TEXT_LENGTH)) },
]

export function replayReport(results: readonly Replayed[], paint: Paint): string {
  const count = (outcome: Replayed['outcome']): number => results.filter((result) => result.outcome === outcome).length
  const dry = count('would replay')
  const done =
    dry > 0 ? `${figure(dry)} would be replayed (dry run: nothing sent)` : `${figure(count('replayed'))} replayed`
  return `${table(RESULT_COLUMNS, results, paint)}${done}, ${figure(count('refused'))} refused\n`
}

function positionText({ log_id, partition, offset }: RecordPosition): string {
  return `${log_id}/${partition}/${offset}`
}

function hexOf(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString('hex')
}

/** Bytes as hex, also where JSON.stringify has converted them to an object before. */
function plain(given: unknown): unknown {
  if (typeof given === 'bigint') return String(given)
  const { type, data } = (given ?? {}) as { type?: unknown; data?: unknown }
  return type === 'Buffer' && Array.isArray(data) ? Buffer.from(data as number[]).toString('hex') : given
}

function asText(given: unknown): string {
  return given instanceof Uint8Array ? Buffer.from(given).toString('hex') : String(given)
}

function hexDump(bytes: Buffer): string {
  let text = ''
  for (let start = 0; start < bytes.length; start += BYTES_A_LINE) {
    const line = bytes.subarray(start, start + BYTES_A_LINE)
    const hex = line.toString('hex').replaceAll(/../g, '$& ')
    const ascii = line.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.')
    text += `${start.toString(16).padStart(8, '0')}  ${hex.padEnd(BYTES_A_LINE * 3)} ${ascii}\n`
  }
  return text
}
