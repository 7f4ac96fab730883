/**
 * A trail whose rows and seals a test makes itself, step by step, in real tables: so that a run of verify sees it between two steps.
 * A real producer, consumer and notary make theirs in sealed-trail.ts.
 */
import { createHash } from 'node:crypto'
import { type Analytics, ROW_COLUMNS } from '@agent-audit/analytics'
import { createRowSkipper, NEWEST_SCHEMA, readContainer } from '@agent-audit/schemas'
import {
  CompactRange,
  formatConsumerSeal,
  formatNote,
  formatProducerSeal,
  generateKey,
  type KeySigner,
  leafHash,
  noteHash,
  type ProducerSeal,
  signCheckpoint,
  signerFromPem,
  type Trust,
} from '@agent-audit/seals'
import { LOG_ID, seedEvents, type SeedRow, type Server } from '../analytics/seed.ts'

const WRITER = BigInt.asIntN(64, NEWEST_SCHEMA.fingerprint).toString()
const SCHEMA = NEWEST_SCHEMA.fingerprint.toString(16).padStart(16, '0')
const SEALS_LOG = '0123456789abcdef'
const TOPIC = 'audit.events'
const EMPTY = createHash('sha256').digest()
export const MADE_ORIGIN = 'made.test/trail'

interface MadeRun {
  readonly producer: string
  readonly runId: string
  next: number
  sealed: number
  seals: number
  prev: Buffer | undefined
}

interface MadePartition {
  next: number
  sealed: number
  prev: Buffer | undefined
}

/** Names of keys: producers `p0` to `p2`, `consumer`, `notary`, `approver`. */
const NAMES = ['p0', 'p1', 'p2', 'consumer', 'notary', 'approver'] as const

export class MadeTrail {
  readonly keys: ReadonlyMap<string, KeySigner> = new Map(NAMES.map((name) => [name, signerFromPem(generateKey(name))]))
  readonly checkpoints: string[] = []
  readonly #analytics: Analytics & { readonly server: Server }
  readonly #runs = new Map<string, MadeRun>()
  readonly #partitions: MadePartition[] = [0, 1].map(() => ({ next: 0, sealed: 0, prev: undefined }))
  readonly #tree = new CompactRange()
  #events = 0

  constructor(analytics: Analytics & { readonly server: Server }) {
    this.#analytics = analytics
  }

  get trust(): Trust {
    const keys = NAMES.map((name) => {
      const role = name.startsWith('p') ? ('producer' as const) : (name as 'consumer' | 'notary' | 'approver')
      return { key: this.key(name).key, role, notBefore: 0, notAfter: undefined, revoked: undefined }
    })
    return { keys, producers: [], services: [], origin: MADE_ORIGIN, witnesses: [] }
  }

  key(name: string): KeySigner {
    const key = this.keys.get(name)
    if (key === undefined) throw new Error(`no key ${name}`)
    return key
  }

  runId(name: string): string {
    return Buffer.from(name.padEnd(16, '.')).toString('hex')
  }

  /** Stores events of a run, in turn in both partitions. @param fields - Of each event. */
  async store(run: string, count: number, fields: SeedRow = {}): Promise<void> {
    const own = this.#runOf(run)
    const rows = Array.from({ length: count }, (): SeedRow => {
      const partition = this.#events++ % 2
      const at = this.#partitions[partition] as MadePartition
      return {
        run_id: own.runId,
        run_seq: own.next++,
        producer_id: own.producer,
        session_id: `session of ${run}`,
        reasoning: `${run} ${own.next - 1}`,
        writer_schema: WRITER,
        log_partition: partition,
        log_offset: at.next++,
        log_time: new Date().toISOString().replace('T', ' ').replace('Z', ''),
        ...fields,
      }
    })
    await seedEvents(this.#analytics.server, rows)
  }

  /** Seals what a run has stored since its last seal. @param change - What the seal says otherwise. */
  async sealRun(run: string, change: Partial<ProducerSeal> = {}): Promise<void> {
    const own = this.#runOf(run)
    const { leaves } = await this.#read(`run_id = unhex('${own.runId}') AND run_seq >= ${own.sealed}`, 'run_seq')
    const hash = createHash('sha256')
    for (const leaf of leaves) hash.update(leaf)
    const seal: ProducerSeal = {
      topic: TOPIC,
      producerId: own.producer,
      runId: own.runId,
      number: own.seals++,
      first: own.sealed,
      last: own.next - 1,
      count: own.next - own.sealed,
      schema: SCHEMA,
      digest: hash.digest(),
      gaps: [],
      undelivered: [],
      prev: own.prev,
      time: Date.now(),
      state: { kind: 'open' },
      ...change,
    }
    own.sealed = own.next
    const text = formatProducerSeal(seal)
    const note = formatNote(text, [this.key(own.producer).signatureLine(text)])
    own.prev = noteHash(note)
    const { number, first, last } = seal
    await this.append(note, `'producer', 'x', unhex('${own.runId}'), ${number}, NULL, NULL, ${first}, ${last}`)
  }

  /** Seals what the partitions have stored since their last seals. */
  async sealPartitions(): Promise<void> {
    for (const [partition, own] of this.#partitions.entries()) {
      if (own.sealed === own.next) continue
      const { rows, count } = await this.#read(
        `log_partition = ${partition} AND log_offset >= ${own.sealed}`,
        'log_offset',
      )
      const range = { first: own.sealed, last: own.next - 1 }
      const text = formatConsumerSeal({
        logId: LOG_ID,
        topic: TOPIC,
        partition,
        ...range,
        rows: 1,
        prev: own.prev,
        events: {
          count,
          digest: createHash('sha256').update(rows).digest(),
        },
        skipped: {
          count: 0,
          digest: EMPTY,
        },
      })
      own.prev = noteHash(text)
      own.sealed = own.next
      const note = formatNote(text, [this.key('consumer').signatureLine(text)])
      await this.append(
        note,
        `'consumer', NULL, NULL, NULL, unhex('${LOG_ID}'), ${partition}, ${range.first}, ${range.last}`,
      )
    }
  }

  /** Adds a leaf to the seal log. */
  async append(note: string, columns: string): Promise<void> {
    const index = this.#tree.size
    this.#tree.append(leafHash(Buffer.from(note)))
    await this.#analytics.command(
      `INSERT INTO {database:Identifier}.audit_seals (seals_log_id, leaf_index, seals_offset, seals_topic, note, topic,
         kind, producer_id, run_id, number, log_id, log_partition, first_number, last_number)
       SELECT unhex('${SEALS_LOG}'), ${index}, ${index}, '${TOPIC}.seals', {note:String}, '${TOPIC}', ${columns}`,
      { note },
    )
  }

  /** The notary signs the log as it is, into the table and outside. */
  async checkpoint(): Promise<void> {
    const { size } = this.#tree
    const root = this.#tree.root()
    const seconds = Math.floor(Date.now() / 1000)
    const note = signCheckpoint(this.key('notary'), { origin: MADE_ORIGIN, size, root }, seconds)
    this.checkpoints.push(note)
    await this.#analytics.command(
      `INSERT INTO {database:Identifier}.audit_checkpoints (seals_log_id, size, origin, root, note, signed_at)
       SELECT unhex('${SEALS_LOG}'), ${size}, '${MADE_ORIGIN}', unhex('${root.toString('hex')}'), {note:String}, now64(3)`,
      { note },
    )
  }

  /** Stores events of runs, and seals and signs all. */
  async step(runs: Readonly<Record<string, number>>, change: Partial<ProducerSeal> = {}): Promise<void> {
    for (const [run, count] of Object.entries(runs)) await this.store(run, count)
    for (const run of Object.keys(runs)) await this.sealRun(run, change)
    await this.sealPartitions()
    await this.checkpoint()
  }

  #runOf(name: string): MadeRun {
    const found = this.#runs.get(name)
    if (found !== undefined) return found
    const producer = `p${this.#runs.size % 3}`
    const run = { producer, runId: this.runId(name), next: 0, sealed: 0, seals: 0, prev: undefined }
    this.#runs.set(name, run)
    return run
  }

  async #read(condition: string, order: string): Promise<{ leaves: Buffer[]; rows: Buffer; count: number }> {
    const columns = ROW_COLUMNS.audit_events.join(', ')
    const sql = `SELECT ${columns} FROM {database:Identifier}.audit_events WHERE ${condition} ORDER BY ${order}`
    const chunks: Buffer[] = []
    for await (const chunk of this.#analytics.bytes(sql, { format: 'Avro' })) chunks.push(chunk)
    const { data: rows, count } = readContainer(Buffer.concat(chunks), { snappy: (block) => block })
    const skipper = createRowSkipper()
    const leaves: Buffer[] = []
    for (let at = 0; at < rows.length;) {
      const end = skipper.skip(rows, at)
      leaves.push(leafHash(rows.subarray(at, skipper.bounds.bodyEnds.at(-1))))
      at = end
    }
    return { leaves, rows, count }
  }
}
