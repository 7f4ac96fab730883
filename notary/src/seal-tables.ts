/** The tables of one seal log: reads and writes of the notary, and what verifiers and evidence read. */
import type { Analytics } from '@agent-audit/analytics'
import { CHECKPOINTS_TABLE, IntegrityError, SEALS_TABLE } from '@agent-audit/schemas'
import { type Checkpoint, MerkleTree } from '@agent-audit/seals'
import type { SealFields } from './leaf.ts'

/** A leaf as it is stored. */
export interface NewLeaf extends SealFields {
  readonly index: number
  /** Of its message in the topic of seals. */
  readonly offset: number
  readonly note: Buffer
}

export interface SignedCheckpoint extends Checkpoint {
  /** With its signature lines. */
  readonly note: string
  /** The notary's time, seconds since 1970. */
  readonly seconds: number
}

export interface StoredLeaf {
  readonly index: number
  readonly offset: number
  readonly hash: Buffer
}

/** Leaves of one query. */
const PAGE = 65_536

/** Columns of audit_seals as they travel, and what the server makes of them. */
const TRAVEL = `leaf_index UInt64, seals_offset Int64, kind String, note String, key_name String, topic String,
  producer_id Nullable(String), run_id Nullable(String), number Nullable(Int64), log_id Nullable(String),
  log_partition Nullable(Int32), first_number Nullable(Int64), last_number Nullable(Int64)`

/** The tables of the log with one id. */
export class SealTables {
  readonly #analytics: Analytics
  /** 16 hex digits. */
  readonly logId: string
  readonly topic: string

  /** @param logId - Of the topic of seals. */
  constructor(analytics: Analytics, { logId, topic }: { readonly logId: Buffer; readonly topic: string }) {
    this.#analytics = analytics
    this.logId = logId.toString('hex')
    this.topic = topic
  }

  /**
   * The leaves in their order, each once, with hashes that the server computes from the notes.
   * @param size - Only the first ones. @defaultValue all
   * @throws IntegrityError `SEAL_LOG_CHANGED`, if a leaf is missing, is there in two forms, or stands before an earlier message
   */
  async *leaves(size: number = Infinity): AsyncGenerator<StoredLeaf, void, undefined> {
    let [next, last]: [number, StoredLeaf | undefined] = [0, undefined]
    for (let first = 0; first < size; first += PAGE) {
      const end = Math.min(first + PAGE, size)
      let found = false
      for (const leaf of await this.#page(first, end)) {
        found = true
        if (last?.index === leaf.index && last.hash.equals(leaf.hash)) continue
        if (leaf.index !== next || (last !== undefined && leaf.offset <= last.offset)) throw this.#wrong(leaf, next)
        yield leaf
        next += 1
        last = leaf
      }
      if (!found) break
    }
    const [behind] = await this.#rows<{ least: string; count: string }>(
      `SELECT toString(min(leaf_index)) AS least, toString(count()) AS count FROM {database:Identifier}.${SEALS_TABLE}
       WHERE seals_log_id = unhex({log:String}) AND leaf_index >= {next:UInt64}`,
      { next },
    )
    if (next < size && behind !== undefined && behind.count !== '0') {
      throw changed(
        `table ${SEALS_TABLE}, log ${this.logId}: leaf ${next} is missing, and leaf ${behind.least} is there`,
      )
    }
  }

  async #page(first: number, end: number): Promise<StoredLeaf[]> {
    const rows = await this.#rows<{ i: string; o: string; h: string }>(
      `SELECT toString(leaf_index) AS i, toString(seals_offset) AS o, hex(SHA256(concat(unhex('00'), note))) AS h
       FROM {database:Identifier}.${SEALS_TABLE}
       WHERE seals_log_id = unhex({log:String}) AND leaf_index >= {first:UInt64} AND leaf_index < {end:UInt64}
       ORDER BY leaf_index, seals_offset, h`,
      { first, end },
    )
    return rows.map(({ i, o, h }) => ({ index: Number(i), offset: Number(o), hash: Buffer.from(h, 'hex') }))
  }

  #wrong(leaf: StoredLeaf, next: number): IntegrityError {
    const where = `table ${SEALS_TABLE}, log ${this.logId}`
    if (leaf.index < next) return changed(`${where}: leaf ${leaf.index} is there with two notes or offsets`)
    if (leaf.index > next) return changed(`${where}: leaf ${next} is missing, and leaf ${leaf.index} is there`)
    return changed(
      `${where}: leaf ${leaf.index} is of offset ${leaf.offset}, which is not above that of the leaf before`,
    )
  }

  /** The notes of leaves from `first` to before `end`. */
  async notes(first: number, end: number): Promise<Buffer[]> {
    const rows = await this.#rows<{ n: string }>(
      `SELECT base64Encode(note) AS n FROM {database:Identifier}.${SEALS_TABLE}
       WHERE seals_log_id = unhex({log:String}) AND leaf_index >= {first:UInt64} AND leaf_index < {end:UInt64}
       ORDER BY leaf_index LIMIT 1 BY leaf_index`,
      { first, end },
    )
    if (rows.length !== end - first)
      throw changed(`table ${SEALS_TABLE}, log ${this.logId}: leaves ${first} to ${end - 1} are not all there`)
    return rows.map(({ n }) => Buffer.from(n, 'base64'))
  }

  /** The notes of the newest checkpoints, the largest first. */
  async checkpoints(limit: number): Promise<string[]> {
    const rows = await this.#rows<{ note: string }>(
      `SELECT note FROM {database:Identifier}.${CHECKPOINTS_TABLE}
       WHERE seals_log_id = unhex({log:String}) ORDER BY size DESC, signed_at DESC LIMIT {limit:UInt32}`,
      { limit },
    )
    return rows.map(({ note }) => note)
  }

  /** Stores leaves that follow on one another. The same leaves again are stored once: equal rows count once for every reader. */
  async insertLeaves(leaves: readonly NewLeaf[]): Promise<void> {
    const [first, last] = [leaves[0], leaves.at(-1)]
    if (first === undefined || last === undefined) return
    const data = leaves.map(({ index, offset, note, ...fields }) =>
      JSON.stringify({ leaf_index: index, seals_offset: offset, note: note.toString('base64'), ...fields }),
    )
    await this.#analytics.command(
      `INSERT INTO {database:Identifier}.${SEALS_TABLE} (seals_log_id, seals_topic, leaf_index, seals_offset, kind, note,
         key_name, topic, producer_id, run_id, number, log_id, log_partition, first_number, last_number)
       SETTINGS insert_deduplicate = 1, insert_deduplication_token = 'leaves/${this.logId}/${first.index}/${last.index}'
       SELECT unhex({log:String}), {sealsTopic:String}, leaf_index, seals_offset, kind, base64Decode(note), key_name, topic,
         producer_id, unhex(run_id), number, unhex(log_id), log_partition, first_number, last_number
       FROM input('${TRAVEL}') FORMAT JSONEachRow
${data.join('\n')}`,
      { log: this.logId, sealsTopic: this.topic },
    )
  }

  async insertCheckpoint({ origin, size, root, note, seconds }: SignedCheckpoint): Promise<void> {
    await this.#analytics.command(
      `INSERT INTO {database:Identifier}.${CHECKPOINTS_TABLE} (seals_log_id, size, origin, root, note, signed_at)
       SELECT unhex({log:String}), {size:UInt64}, {origin:String}, unhex({root:String}), {note:String},
         toDateTime64({seconds:UInt32}, 3, 'UTC')`,
      { log: this.logId, size, origin, root: root.toString('hex'), note, seconds },
    )
  }

  #rows<Row>(query: string, parameters: Record<string, unknown>): Promise<Row[]> {
    return this.#analytics.rows<Row>(query, { log: this.logId, ...parameters })
  }
}

/**
 * The tree of a seal log, from the notes in the tables: its inclusion and consistency proofs for a verifier or a bundle of evidence.
 * Reads each note once, on the server; 64 bytes a leaf here.
 * @param size - Of the checkpoint that the proofs are for. @defaultValue all leaves
 * @throws IntegrityError `SEAL_LOG_CHANGED`; as {@link Analytics.rows}
 */
export async function readSealTree(tables: SealTables, size?: number): Promise<MerkleTree> {
  const tree = new MerkleTree()
  for await (const { hash } of tables.leaves(size)) tree.append(hash)
  return tree
}

export function changed(message: string): IntegrityError {
  return new IntegrityError('SEAL_LOG_CHANGED', message)
}
