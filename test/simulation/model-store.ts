/**
 * A model of ClickHouse as far as the protocol depends on it: two tables that refuse late inserts, a list of running inserts,
 * a clock that may be stepped back. test/contract/sink.test.ts holds the model to the real server.
 */
import { insertMark, type Insert, type InsertAnswer, type LogPartition } from '@agent-audit/consumer/pipeline'
import type { Row } from './insert-rows.ts'
import { ModelForgery } from './model-forgery.ts'
import { ModelRetention } from './model-retention.ts'
import type { World } from './world.ts'

/** The rows of one partition of the log. */
export interface TablePartition {
  readonly key: string
  readonly rows: Map<number, Row>
  readonly identities: Map<string, number>
}

/** An insert under way at the server. */
interface Running {
  readonly insert: Insert
  readonly rows: readonly Row[]
  /** Whether its deadline was checked: from then on it lands, or is lost with the server. */
  accepted: boolean
  readonly answer: (answer: InsertAnswer) => void
}

/** 2026-01-31: server time at the beginning. Any time would do. */
const SERVER_START = Date.UTC(2026, 0, 31)
/** Tolerance of the constraint fenced_since_start, milliseconds: the resolution of uptime(). */
const START_GRAIN_MS = 2000

export class ModelStore {
  /** Rows by log, partition and offset. */
  readonly #rows = new Map<string, Map<number, Row>>()
  /** Each row that has ever landed, by partition and offset. */
  readonly #landed = new Map<string, Row>()
  /** Offsets of event rows, by partition and `run_id:run_seq`. */
  readonly #identities = new Map<string, Map<string, number>>()
  readonly #running = new Set<Running>()
  readonly retention: ModelRetention
  readonly forgery: ModelForgery
  /** Deduplication tokens of inserts that landed. */
  readonly #tokens = new Set<string>()
  readonly #world: World
  #steppedBackMs = 0
  #startedAt = 0
  #down = false
  #life = 0

  constructor(world: World) {
    this.#world = world
    this.retention = new ModelRetention(world, () => this.#partitions())
    this.forgery = new ModelForgery(world)
  }

  get down(): boolean {
    return this.#down
  }

  /** The server's clock, milliseconds since 1970. */
  now(): number {
    return Math.floor(SERVER_START + this.#world.kernel.now - this.#steppedBackMs)
  }

  /** Steps the clock back, by no more than M in all. */
  stepBack(): void {
    const { random, timing } = this.#world
    this.#steppedBackMs += random.between(0, timing.marginMs - this.#steppedBackMs)
    this.#world.tell('store', () => `clock stepped back, ${this.#steppedBackMs.toFixed(0)} ms in all`)
  }

  /**
   * Stops the server and starts it again later. Inserts it has not accepted are gone, of the others each has landed or
   * not; with `power` lost none of them has, and the tokens are forgotten. What was answered stays: it was on disk.
   */
  crash(power: boolean): void {
    const { kernel, random } = this.#world
    this.#world.tell('store', () => (power ? 'power lost' : 'killed'))
    for (const running of this.#running) {
      this.#running.delete(running)
      if (running.accepted && !power && random.chance(0.5)) this.#land(running)
      running.answer({ kind: 'unclear', reason: 'connection reset' })
    }
    if (power) this.#tokens.clear()
    this.#down = true
    this.#life++
    kernel.after(random.between(10, 1200), () => {
      this.#down = false
      this.#startedAt = kernel.now
      this.#world.tell('store', () => 'started')
    })
  }

  /** Grows with each crash: requests on a connection do not survive its server. */
  get life(): number {
    return this.#life
  }

  /** Takes an insert. Resolves with its answer. */
  receive(insert: Insert, rows: readonly Row[], answer: (answer: InsertAnswer) => void): void {
    const { random, faults } = this.#world
    if (this.#down) return answer({ kind: 'unclear', reason: 'connection refused' })
    if ([...this.#running].some((other) => other.insert.queryId === insert.queryId)) {
      return answer({ kind: 'unclear', reason: 'code 216: a query with this id is running' })
    }
    const running: Running = { insert, rows, answer, accepted: false }
    this.#running.add(running)
    const stall = faults.strikes('insert: stalls while listed')
      ? random.between(0, 3 * this.#world.timing.leaseMs)
      : random.between(0, 5)
    this.#later(running, stall, () => this.#judge(running))
  }

  runningInserts(logPartition: LogPartition): number {
    const mark = insertMark(logPartition)
    return [...this.#running].filter(({ insert }) => insert.queryId.includes(mark)).length
  }

  /** Rows of a partition by offset. */
  rowsOf({ logId, partition }: LogPartition): ReadonlyMap<number, Row> {
    return this.#rows.get(`${logId.toString('hex')}/${partition}`) ?? new Map<number, Row>()
  }

  /** The row that has landed at an offset, though it may have expired since. */
  landedAt({ logId, partition }: LogPartition, offset: number): Row | undefined {
    return this.#landed.get(`${logId.toString('hex')}/${partition}/${offset}`)
  }

  /** Offsets of the event rows of a partition by `run_id:run_seq`. */
  identitiesOf({ logId, partition }: LogPartition): ReadonlyMap<string, number> {
    return this.#identities.get(`${logId.toString('hex')}/${partition}`) ?? new Map<string, number>()
  }

  /** Offsets of a partition that expiry notes cover. */
  notedIn({ logId, partition }: LogPartition): ReadonlySet<number> {
    return this.retention.noted.get(`${logId.toString('hex')}/${partition}`) ?? new Set<number>()
  }

  #partitions(): TablePartition[] {
    return [...this.#rows].map(([key, rows]) => ({ key, rows, identities: mapAt(this.#identities, key) }))
  }

  // The work on an insert ends with the server.
  #later(running: Running, ms: number, action: () => void): void {
    this.#world.kernel.after(ms, () => {
      if (this.#running.has(running)) action()
    })
  }

  #judge(running: Running): void {
    const { random, faults } = this.#world
    const { insert } = running
    if (this.#tokens.has(insert.token)) return this.#finish(running, { kind: 'stored' })
    const late = this.#refusalOf(insert)
    if (late !== undefined) return this.#finish(running, { kind: 'unclear', reason: late })
    const keys = new Set(running.rows.map((row) => row.partitionKey))
    if (keys.size > 1) {
      return this.#finish(running, { kind: 'refused', reason: `code 252: ${keys.size} partitions in one block` })
    }
    const bad = insert.table === 'audit_events' && running.rows.some((row) => this.#world.refuses(row.runSeq))
    if (bad) {
      faults.count('insert: refused for its data')
      return this.#finish(running, { kind: 'bad-data', reason: 'code 469: constraint refused violated' })
    }
    if (faults.strikes('insert: refused, too many parts')) {
      return this.#finish(running, { kind: 'refused', reason: 'code 252: too many parts' })
    }
    if (faults.strikes('insert: acknowledged, its token was used before') && this.#drop(running.rows)) {
      return this.#finish(running, { kind: 'stored' })
    }
    if (faults.strikes('insert: unclear answer, nothing landed')) {
      return this.#finish(running, { kind: 'unclear', reason: 'code 241: memory limit' })
    }
    running.accepted = true
    const landing = faults.strikes('insert: lands late')
      ? random.between(100, 3 * this.#world.timing.leaseMs)
      : random.between(0.5, 20)
    this.#later(running, landing, () => {
      this.#land(running)
      this.#finish(running, { kind: 'stored' })
    })
  }

  #drop(rows: readonly Row[]): boolean {
    return this.forgery.drop(rows.map(({ logId, partition, offset }) => ({ key: `${logId}/${partition}`, offset })))
  }

  /** The table's constraints. */
  #refusalOf({ fencedAt, deadline }: Insert): string | undefined {
    if (this.now() > deadline) return `code 469: constraint deadline violated`
    const uptime = this.#world.kernel.now - this.#startedAt
    const start = (Math.floor(this.now() / 1000) - Math.floor(uptime / 1000)) * 1000 - START_GRAIN_MS
    return fencedAt < start ? 'code 469: constraint fenced_since_start violated' : undefined
  }

  #finish(running: Running, answer: InsertAnswer): void {
    this.#running.delete(running)
    running.answer(answer)
  }

  #land({ insert, rows }: Running): void {
    // Two inserts with one token may be under way at once: the token is checked again when the part joins the table.
    if (this.#tokens.has(insert.token)) return
    this.#tokens.add(insert.token)
    this.#world.tell('store', () => `landed: ${insert.table} ${describeRows(rows)}`)
    for (const row of rows) this.#add(row)
  }

  #add(row: Row): void {
    const key = `${row.logId}/${row.partition}`
    const offsets = mapAt(this.#rows, key)
    const there = offsets.get(row.offset)
    if (there !== undefined) {
      const again = there.table === row.table ? 'twice' : `in ${there.table} and`
      this.#world.fail(`offset ${row.offset} of partition ${row.partition} is ${again} in ${row.table}`)
    }
    if (this.retention.dropped.has(`${key}/${row.offset}`)) {
      this.#world.fail(`offset ${row.offset} of partition ${row.partition} is stored again after it expired`)
    }
    offsets.set(row.offset, row)
    this.#landed.set(`${key}/${row.offset}`, row)
    if (row.table === 'audit_skipped' || row.runId === undefined) return
    const identities = mapAt(this.#identities, key)
    const identity = `${row.runId}:${row.runSeq}`
    const other = identities.get(identity)
    if (other !== undefined) {
      this.#world.fail(`record ${identity} is an event twice, at offsets ${other} and ${row.offset}`)
    }
    identities.set(identity, row.offset)
  }
}

export function describeRows(rows: readonly Row[]): string {
  const partitions = Map.groupBy(rows, ({ partition }) => partition)
  return [...partitions].map(([partition, of]) => `p${partition} [${of.map((row) => row.offset).join(' ')}]`).join(' ')
}

function mapAt<K, V>(maps: Map<string, Map<K, V>>, key: string): Map<K, V> {
  const known = maps.get(key)
  if (known !== undefined) return known
  const made = new Map<K, V>()
  maps.set(key, made)
  return made
}
