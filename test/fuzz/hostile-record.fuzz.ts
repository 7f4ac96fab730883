/**
 * Whatever a producer has stored can be read: `trail`, `sessions` and `agents` show each row, as text without a character that
 * a terminal obeys or does not show, and as JSON with the stored values. A server of this file's own gives the rows.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { runCli } from '@agent-audit/cli'
import { JSON_FIELDS, NEWEST_SCHEMA, type RecordField } from '@agent-audit/schemas'
import * as fc from 'fast-check'
import type { FuzzTarget } from './target.ts'

type Row = Record<string, unknown>
interface Stored {
  readonly events: readonly Row[]
  readonly sessions: readonly Row[]
  readonly agents: readonly Row[]
}

/** A case with this much input takes well below a second. */
const MAX_MS = 10_000
/** `\uXXXX` for each character. */
const JSON_GROWTH = 6.5
/** In a text that --full indents, a value of one character may have a line of its own, 250 levels deep. */
const FULL_GROWTH = 300
/** A line of the trail has a few texts of at most 200 characters, each perhaps an escape of nine. */
const LINE_LENGTH = 4000
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

const CODES = [
  0x00, 0x07, 0x1b, 0x7f, 0x9b, 0xad, 0x301, 0x61c, 0x200b, 0x200d, 0x200f, 0x2028, 0x202e, 0x2066, 0x3164, 0xfe0f,
  0xfeff, 0xe0041,
]
const CHARACTERS = [...CODES.map((code) => String.fromCodePoint(code)), '\u26a0\ufe0f', '\r\n', '\u001b[2J']

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.array(fc.constantFrom(...CHARACTERS), { maxLength: 40 }).map((parts) => parts.join('')),
  fc.constantFrom(
    '',
    'valueOf',
    '__proto__',
    'llm_call',
    'tool_call',
    'session_end',
    'approval_decision',
    'user_message',
  ),
  fc.tuple(fc.constantFrom('x', ' ', '\n', '\u202e', '\u0301'), fc.nat(5000)).map(([c, count]) => c.repeat(count)),
)
const digits = fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.constantFrom(2n ** 63n - 1n, -1n, 0n)).map(String)
const jsonText = fc.oneof(
  fc.json({ stringUnit: 'binary' }),
  text,
  fc.tuple(fc.constantFrom('[', '{"a":'), fc.nat(10_000)).map(([open, depth]) => nested(open, depth, '1')),
  fc.nat(255).map((depth) => nested('[', depth, '1,'.repeat(1000) + '1')),
  fc
    .nat(20_000)
    .map((keys) => JSON.stringify(Object.fromEntries(Array.from({ length: keys }, (_, key) => [key, key])))),
  fc
    .tuple(digits, fc.nat(400))
    .map(([number, exponent]) => `{"n":${number},"m":1e${exponent},"l":${number}${number.replace('-', '')}}`),
  text.map((message) => JSON.stringify({ user_message: message, role: 'user', content: [{ text: message }] })),
)

function nested(open: string, depth: number, inner: string): string {
  return `${open.repeat(depth)}${inner}${(open === '[' ? ']' : '}').repeat(depth)}`
}

function valueOf(field: RecordField): fc.Arbitrary<unknown> {
  const { name, kind } = field
  if (name === 'timestamp')
    return fc
      .date({ min: new Date(0), max: new Date('2290-01-01'), noInvalidDate: true })
      .map((date) => date.toISOString())
  if (JSON_FIELDS.some((json) => json === name)) return jsonText
  if (kind === 'long') return digits
  if (kind === 'double') return fc.double({ noNaN: true, noDefaultInfinity: true })
  if (kind === 'boolean') return fc.boolean()
  return kind === 'fixed' ? fc.constant('ab'.repeat(16)) : text
}

const event: fc.Arbitrary<Row> = fc.record({
  ...Object.fromEntries(
    NEWEST_SCHEMA.fields.map((field) => [
      field.name,
      field.optional ? fc.option(valueOf(field), { freq: 1 }) : valueOf(field),
    ]),
  ),
  log_id: fc.constant('0123456789abcdef'),
  log_partition: fc.nat(10),
  log_offset: digits,
  log_time: fc.constant('2026-11-24T10:00:00.123Z'),
  writer_schema: fc.constant('0123456789abcdef'),
})
const time = fc.constant('2026-11-24T10:00:00.123456Z')
const summary = {
  agent_id: text,
  last_at: time,
  input_tokens: fc.oneof(fc.constant(null), digits),
  output_tokens: fc.oneof(fc.constant(null), digits),
  ...Object.fromEntries(['events', 'llm_calls', 'tool_calls', 'errors'].map((name) => [name, fc.nat()])),
}
const stored: fc.Arbitrary<Stored> = fc.record({
  events: fc.array(event, { minLength: 1, maxLength: 3 }),
  sessions: fc.uniqueArray(
    fc.record({
      ...summary,
      session_id: text,
      user_id: fc.oneof(fc.constant(null), text),
      outcome: fc.oneof(fc.constant(null), text),
      state: text,
      started_at: time,
    }),
    { maxLength: 3, selector: ({ session_id }) => session_id },
  ),
  agents: fc.array(fc.record({ ...summary, sessions: fc.nat(), denied: fc.nat(), blocked: fc.nat() }), {
    maxLength: 3,
  }),
})

let served: Stored
let url: Promise<string> | undefined

/** Answers each query of the commands with the rows of the case. */
async function serve(): Promise<string> {
  const server = createServer((request, response) => {
    void bodyOf(request).then((query) =>
      response.end(
        rowsFor(query)
          .map((row) => `${JSON.stringify(row)}\n`)
          .join(''),
      ),
    )
  })
  server.unref().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

function rowsFor(query: string): readonly Row[] {
  if (query.includes(`getSetting('readonly')`)) return [{ readonly: 0 }]
  if (query.includes('AS firstTime')) return [{ firstTime: '0', firstSeq: '0', lastTime: '0', lastSeq: '0' }]
  if (query.includes('uniqExact(session_id)')) return served.agents
  return query.includes('argMaxIf(event_type') ? served.sessions : structuredClone(served.events)
}

async function run(...args: string[]): Promise<string> {
  const parts: string[] = []
  let err = ''
  const terminal = { out: (part: string) => void parts.push(part), err: (part: string) => void (err += part) }
  const code = await runCli(args, { ...terminal, env: { CLICKHOUSE_URL: await (url ??= serve()) }, colors: false })
  const out = parts.join('')
  must(code === 0 && err === '', `${args.join(' ')}: exit ${code}, ${err}`)
  const raw = HIDDEN.exec(out.replaceAll(args.includes('--full') ? /[\n\t]/g : /\n/g, ''))
  must(raw === null, `${args.join(' ')}: raw U+${raw?.[0].codePointAt(0)?.toString(16)}`)
  must(!out.includes('cannot_be_shown') && !out.includes('cannot be shown:'), `${args.join(' ')}: ${out.slice(0, 500)}`)
  return out
}

function must(holds: boolean, message: string): void {
  if (!holds) throw new Error(message)
}

/** Whether the printed row has the stored values: digits beside a rounded number, JSON parsed or as text. */
function isSame(printed: Row, row: Row): boolean {
  const { exact = {}, ...values } = printed as { exact?: Record<string, string> }
  return Object.entries(row).every(([name, given]) => {
    const value = (values as Row)[name]
    if (typeof value === 'number' && typeof given === 'string') return (exact[name] ?? String(value)) === given
    if (value === given || Object.is(value, Number(given))) return true
    return typeof given === 'string' && JSON.stringify(JSON.parse(given)) === JSON.stringify(value)
  })
}

async function checkTrail(): Promise<void> {
  const { events } = served
  const input = JSON.stringify(events).length
  const [short, full, json] = [
    await run('trail', 'S'),
    await run('trail', 'S', '--full'),
    await run('trail', 'S', '--json'),
  ]
  must(short.length <= LINE_LENGTH * (events.length + 4), `trail: ${short.length} characters`)
  must(full.length <= FULL_GROWTH * input, `trail --full: ${full.length} characters of ${input}`)
  must(json.length <= JSON_GROWTH * input, `trail --json: ${json.length} characters of ${input}`)
  const printed = JSON.parse(json) as Row[]
  must(printed.length === events.length, `${printed.length} of ${events.length} events`)
  for (const [index, row] of events.entries())
    must(isSame(printed[index] ?? {}, row), `event ${index} is another: ${json.slice(0, 1000)}`)
}

async function checkList(command: 'sessions' | 'agents'): Promise<void> {
  // Sessions with the same time of their last event are in order of their ids.
  const inOrder = (one: Row, other: Row): number => (String(one['session_id']) < String(other['session_id']) ? -1 : 1)
  const rows = command === 'sessions' ? served.sessions.toSorted(inOrder) : served.agents
  const list = await run(command)
  must(list.length <= LINE_LENGTH * (rows.length + 2), `${command}: ${list.length} characters`)
  const printed = JSON.parse(await run(command, '--json')) as Row[]
  for (const [index, { state: _, ...row }] of rows.entries())
    must(isSame(printed[index] ?? {}, row), `${command} ${index} is another`)
}

export const fuzz: FuzzTarget = {
  name: 'hostile-record',
  property: fc.asyncProperty(stored, async (given) => {
    served = given
    const start = performance.now()
    await checkTrail()
    await checkList('sessions')
    await checkList('agents')
    must(performance.now() - start < MAX_MS, 'too slow')
  }),
}
