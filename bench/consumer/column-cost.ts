/**
 * `npm run bench:columns` measures what the columns of version 2 of the record cost: CPU of ClickHouse for an event, to
 * insert it and to merge it once, at inserts of several sizes, and bytes on disk. Three trails on one server take turns:
 * tables and blocks of version 1; of version 2, every new field null; of version 2, with the fields that an agent with
 * policies and approvals fills.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { connectAnalytics } from '@agent-audit/analytics'
import {
  type AuditRecord,
  blockLengths,
  CONTAINER_SYNC,
  containerHeader,
  EVENTS_TABLE,
  MAX_VARINT_BYTES,
  readMigrations,
  SCHEMA_VERSIONS,
  SINGLE_OBJECT_BYTES,
  writeLong,
} from '@agent-audit/schemas'
import { startClickHouse } from '@agent-audit/stack'
import { readUsage } from '../support/process-usage.ts'
import { fieldsOf, Run } from '../support/records.ts'
import { readSizeMix } from '../support/size-mix.ts'

/** Rows an insert, and inserts a round: a stretch of some tenths of a second of CPU each. */
const INSERTS = [
  { rows: 417, count: 40 },
  { rows: 5000, count: 6 },
  { rows: 50_000, count: 2 },
] as const
const MIGRATION = 6
const POSITION = [
  { name: 'log_id', type: { type: 'fixed', name: 'log_id', size: 8 } },
  { name: 'log_partition', type: 'int' },
  { name: 'log_offset', type: 'long' },
  { name: 'log_time', type: { type: 'long', logicalType: 'timestamp-millis' } },
  { name: 'writer_schema', type: 'long' },
]
const [VERSION_1, VERSION_2] = SCHEMA_VERSIONS
if (VERSION_1 === undefined || VERSION_2 === undefined) throw new Error('expected two versions')
const ADDED = VERSION_1.missingFields
const POLICY = JSON.stringify({ id: 'tools', version: '2026-11', digest: `sha256:${'5e'.repeat(32)}` })
const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })

/** One of the trails that take turns. */
interface Trail {
  readonly name: string
  readonly database: string
  readonly schema: { readonly fields: readonly { readonly name: string }[] }
  /** Newest migration of its tables. */
  readonly migration: number
  /** Bodies of the records that are inserted in turn. */
  readonly bodies: readonly Buffer[]
  offset: number
  readonly costs: (Cost & { readonly rows: number })[]
  /** Of an event on disk, after the largest inserts. */
  bytes: number
}

interface Cost {
  readonly insertUs: number
  readonly mergeUs: number
}

// Its processor time is read by its process id.
process.env['AUDIT_SERVERS'] = 'local'
const server = await startClickHouse({ users: [], maxMemoryBytes: 6_000_000_000 })
const admin = connectAnalytics({ url: server.url, database: 'default', ...server.credentials.admin })
try {
  await main()
} finally {
  await admin.close()
  await server.stop()
}

async function main(): Promise<void> {
  const trails = makeTrails()
  for (const trail of trails) await migrate(trail)
  // The first round warms caches up.
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const order of INSERTS) {
      for (const turn of trails.keys()) {
        // Each trail is the first of a round as often as the others.
        const trail = trails[(turn + round) % trails.length] as Trail
        const cost = await measure(trail, order)
        if (round > 0) trail.costs.push({ ...order, ...cost })
      }
    }
  }
  for (const { rows } of INSERTS) for (const trail of trails) say(trail, rows)
  for (const { name, bytes } of trails) process.stdout.write(`${name}: ${bytes.toFixed(1)} bytes an event on disk\n`)
}

function say({ name, costs }: Trail, rows: number): void {
  const own = costs.filter((cost) => cost.rows === rows)
  const inserts = spread(own.map(({ insertUs }) => insertUs))
  const merges = spread(own.map(({ mergeUs }) => mergeUs))
  process.stdout.write(
    `${rows} rows an insert, ${name}: us of CPU an event ${inserts} to insert, ${merges} to merge once\n`,
  )
}

/** Median, and range. */
function spread(values: readonly number[]): string {
  const sorted = values.toSorted((one, other) => one - other)
  const [low, middle, high] = [0, 0.5, 1].map((share) => sorted[Math.floor(share * (sorted.length - 1))]?.toFixed(2))
  return `${middle} (${low} to ${high})`
}

/** The server's CPU, microseconds an event: for the inserts alone, then for one merge of all of their parts. */
async function measure(trail: Trail, { rows, count }: (typeof INSERTS)[number]): Promise<Cost> {
  const table = `${trail.database}.${EVENTS_TABLE}`
  const blocks = Array.from({ length: count }, () => makeBlock(trail, rows))
  await admin.command(`TRUNCATE TABLE ${table} SETTINGS max_table_size_to_drop = 0`)
  await admin.command(`SYSTEM STOP MERGES ${table}`)
  const begin = readUsage(server.pid).cpuUs
  for (const block of blocks) await insert(trail, block)
  const inserted = readUsage(server.pid).cpuUs
  await admin.command(`SYSTEM START MERGES ${table}`)
  await admin.command(`OPTIMIZE TABLE ${table} FINAL`)
  const merged = readUsage(server.pid).cpuUs
  trail.bytes = await bytesAnEvent(trail)
  return { insertUs: (inserted - begin) / (rows * count), mergeUs: (merged - inserted) / (rows * count) }
}

function makeBlock(trail: Trail, rows: number): Buffer {
  const pieces: Buffer[] = []
  const tail = Buffer.alloc(8 + 4 * MAX_VARINT_BYTES)
  for (let row = 0; row < rows; row++) {
    const offset = trail.offset++
    let end = writeLong(tail, 8, 0)
    end = writeLong(tail, end, offset)
    end = writeLong(tail, end, Date.now())
    end = writeLong(tail, end, 1)
    pieces.push(trail.bodies[offset % trail.bodies.length] as Buffer, Buffer.from(tail.subarray(0, end)))
  }
  const data = Buffer.concat(pieces)
  return Buffer.concat([containerHeader(trail.schema), blockLengths(rows, data.length), data, CONTAINER_SYNC])
}

async function insert({ database, schema }: Trail, body: Buffer): Promise<void> {
  const now = Date.now()
  const parameters = new URLSearchParams({
    database,
    query: `INSERT INTO ${EVENTS_TABLE} (${schema.fields.map(({ name }) => name).join(', ')}) FORMAT Avro`,
    log_comment: `${now} ${now + 600_000}`,
    wait_end_of_query: '1',
    async_insert: '0',
    max_insert_threads: '1',
    input_format_parallel_parsing: '0',
    min_insert_block_size_rows: '1000000000',
    max_insert_block_size: '1000000000',
    min_insert_block_size_bytes: '0',
  })
  const { username, password } = server.credentials.admin
  const headers = { 'X-ClickHouse-User': username, 'X-ClickHouse-Key': password }
  const send = (): Promise<Response> =>
    fetch(`${server.url}/?${parameters.toString()}`, { method: 'POST', body, headers })
  // The server may have closed the idle connection. It drops a block that it has already.
  const answer = await send().catch(send)
  if (!answer.ok) throw new Error(await answer.text())
}

async function bytesAnEvent({ database }: Trail): Promise<number> {
  const [row] = await admin.rows<{ bytes: number }>(
    `SELECT sum(bytes_on_disk) / sum(rows) AS bytes FROM system.parts
     WHERE active AND table = '${EVENTS_TABLE}' AND database = '${database}'`,
  )
  return row?.bytes ?? Number.NaN
}

async function migrate({ database, migration }: Trail): Promise<void> {
  await admin.command(`CREATE DATABASE ${database}`)
  const chosen = readMigrations().filter(({ number }) => number <= migration)
  for (const statement of chosen.flatMap(({ statements }) => statements)) {
    await admin.command(
      statement.replace(/^((?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) )(?=audit_)/m, `$1${database}.`),
    )
  }
}

function makeTrails(): Trail[] {
  const whole = makeBodies()
  const empty = Buffer.alloc(ADDED)
  const make = (name: string, database: string, version: typeof VERSION_1, bodies: Buffer[]): Trail => {
    const schema = JSON.parse(version?.text ?? '') as Trail['schema']
    const migration = version === VERSION_1 ? MIGRATION - 1 : MIGRATION
    return {
      name,
      database,
      schema: { ...schema, fields: [...schema.fields, ...POSITION] },
      migration,
      bodies,
      offset: 0,
      costs: [],
      bytes: 0,
    }
  }
  const old = whole.map((body) => body.subarray(0, -ADDED))
  return [
    make('version 1', 'version_1', VERSION_1, old),
    make(
      'version 2, fields null',
      'version_2',
      VERSION_2,
      old.map((body) => Buffer.concat([body, empty])),
    ),
    make('version 2, fields filled', 'version_2_filled', VERSION_2, whole.map(filled)),
  ]
}

/** Records of one run with the size mix of real sessions; the fields of version 2 are null. */
function makeBodies(): Buffer[] {
  const plans = readSizeMix(process.env['AUDIT_SESSIONS_FILE']).sessions.map(fieldsOf)
  const run = new Run(1, plans, 1)
  return Array.from({ length: 60_000 }, () => run.next().value.subarray(SINGLE_OBJECT_BYTES))
}

/** A call has its key and its policy, one in ten a principal and an approval; a result its effect, one in ten a digest. */
function filled(body: Buffer, index: number): Buffer {
  const record = { ...(VERSION_2?.avroType.fromBuffer(body) as AuditRecord) }
  const tenth = index % 10 === 0
  if (record.event_type === 'tool_call') {
    record.idempotency_key = randomBytes(8).toString('hex')
    record.policy = POLICY
    if (tenth) {
      record.on_behalf_of = 'service:billing'
      record.approval = JSON.stringify({
        approver_kind: 'person',
        identity_source: 'https://id.example/realms/support',
        shown_sha256: randomBytes(32).toString('hex'),
      })
    }
  }
  if (record.event_type === 'tool_result') {
    record.effect = 'confirmed'
    if (tenth) record.output_sha256 = randomBytes(32)
  }
  return VERSION_2?.avroType.toBuffer(record) ?? body
}
