/**
 * `npm run bench:columns` measures what the columns of version 2 of the record cost: CPU of ClickHouse for an event, to
 * insert it and to merge it once, at inserts of several sizes, and bytes on disk. Three trails on one server take turns:
 * tables and blocks of version 1; of version 2, every new field null; of version 2, with the fields that an agent with
 * policies and approvals fills.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { type AuditRecord, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import {
  bytesAnEvent,
  type CopyCost,
  type CopyServer,
  inTurn,
  makeBodies,
  measureCopy,
  migrateCopy,
  onCopyServer,
  spread,
  type TableCopy,
  tableCopy,
} from '../support/table-copies.ts'

/** Rows an insert, and inserts a round: a stretch of some tenths of a second of CPU each. */
const INSERTS = [
  { rows: 417, count: 40 },
  { rows: 5000, count: 6 },
  { rows: 50_000, count: 2 },
] as const
const MIGRATION = 6
const [VERSION_1, VERSION_2] = SCHEMA_VERSIONS
if (VERSION_1 === undefined || VERSION_2 === undefined) throw new Error('expected two versions')
const ADDED = VERSION_1.missingFields
const POLICY = JSON.stringify({ id: 'tools', version: '2026-11', digest: `sha256:${'5e'.repeat(32)}` })
const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })

/** One of the trails that take turns. */
interface Trail extends TableCopy {
  /** Newest migration of its tables. */
  readonly migration: number
  readonly costs: (CopyCost & { readonly rows: number })[]
  /** Of an event on disk, after the largest inserts. */
  bytes: number
}

await onCopyServer(main)

async function main(on: CopyServer): Promise<void> {
  const trails = makeTrails()
  for (const trail of trails) await migrateCopy(on.admin, trail.database, trail.migration)
  // The first round warms caches up.
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const order of INSERTS) {
      for (const trail of inTurn(trails, round)) {
        const cost = await measureCopy(on, trail, order)
        trail.bytes = await bytesAnEvent(on.admin, trail)
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

function makeTrails(): Trail[] {
  const whole = makeBodies()
  const empty = Buffer.alloc(ADDED)
  const make = (name: string, database: string, version: typeof VERSION_1, bodies: Buffer[]): Trail => ({
    ...tableCopy({ name, database, bodies, schemaText: version?.text ?? '' }),
    migration: version === VERSION_1 ? MIGRATION - 1 : MIGRATION,
    costs: [],
    bytes: 0,
  })
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
