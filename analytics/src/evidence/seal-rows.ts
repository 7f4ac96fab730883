/** The seals of runs and the log over them, as the notary stored them. */
import { CHECKPOINTS_TABLE, IntegrityError, SEALS_TABLE } from '@agent-audit/schemas'
import {
  MerkleTree,
  parseCheckpoint,
  parseNote,
  parseProducerSeal,
  type ProducerSeal,
  type Trust,
  keysOfRole,
  verifyNote,
} from '@agent-audit/seals'
import type { Analytics } from '../connection/clickhouse.ts'

export interface StoredSeal {
  /** 16 hex digits: the log of seals that has it. */
  readonly log: string
  readonly index: number
  readonly note: string
  readonly seal: ProducerSeal
}

interface SealRow {
  readonly log: string
  readonly leaf: string
  readonly note: string
}

/**
 * The seals of a run that cover one of the numbers, apart from each other. Where several claim the same number, one with a
 * signature of a trusted key comes first, then the one that was there first.
 * @param numbers - run_seqs, ascending.
 */
export async function sealsOfRun(
  analytics: Analytics,
  { runId, numbers, trust }: { runId: string; numbers: readonly number[]; trust: Trust },
): Promise<StoredSeal[]> {
  const rows = await analytics.rows<SealRow>(
    `SELECT lower(hex(s.seals_log_id)) AS log, toString(s.leaf_index) AS leaf, s.note AS note
     FROM {database:Identifier}.${SEALS_TABLE} AS s
     WHERE s.kind = 'producer' AND s.run_id = unhex({runId:String})
       AND s.last_number >= {first:Int64} AND s.first_number <= {last:Int64}
     ORDER BY s.leaf_index`,
    { runId, first: numbers[0] ?? 0, last: numbers.at(-1) ?? 0 },
  )
  const keys = keysOfRole(trust, 'producer')
  const found = rows.flatMap(({ log, leaf, note }) => {
    const seal = sealOf(note)
    return seal?.runId === runId ? [{ log, index: Number(leaf), note, seal }] : []
  })
  const signed = Map.groupBy(found, ({ note }) => isSigned(note, keys))
  const taken: StoredSeal[] = []
  for (const stored of [...(signed.get(true) ?? []), ...(signed.get(false) ?? [])]) {
    const { first, last } = stored.seal
    const covers = numbers.some((number) => first <= number && number <= last)
    const free = taken.every(({ seal }) => last < seal.first || seal.last < first)
    if (covers && free) taken.push(stored)
  }
  return taken.toSorted((one, other) => one.seal.first - other.seal.first)
}

/** Undefined: the text of another writer, that proves nothing. */
function sealOf(note: string): ProducerSeal | undefined {
  try {
    return parseProducerSeal(parseNote(note).text)
  } catch {
    return undefined
  }
}

function isSigned(note: string, keys: Parameters<typeof verifyNote>[1]): boolean {
  try {
    verifyNote(note, keys)
    return true
  } catch {
    return false
  }
}

/** Notes of the checkpoints that a proof of these leaves needs: the first that holds each leaf, and the newest; by size. */
export async function checkpointsFor(
  analytics: Analytics,
  log: string,
  indexes: readonly number[],
): Promise<Map<number, string>> {
  const [least, most] = [Math.min(...indexes), Math.max(...indexes)]
  const [ends, [newest]] = await Promise.all([
    checkpoints(analytics, log, { above: most, order: 'ASC' }),
    checkpoints(analytics, log, { above: 0, order: 'DESC' }),
  ])
  const last = ends[0] ?? newest
  if (newest === undefined || last === undefined) return new Map()
  // Those with as many of the leaves: the first of them is the first that holds the last of these leaves.
  const rows = await analytics.rows<{ note: string }>(
    `SELECT argMin(c.note, (c.size, c.signed_at)) AS note FROM {database:Identifier}.${CHECKPOINTS_TABLE} AS c
     WHERE c.seals_log_id = unhex({log:String}) AND c.size > {least:UInt64} AND c.size <= {size:UInt64}
     GROUP BY arrayCount(index -> index < c.size, {indexes:Array(UInt64)})`,
    { log, least, size: sizeOf(last), indexes },
  )
  return new Map([...rows.map(({ note }) => note), newest].map((note) => [sizeOf(note), note]))
}

function sizeOf(note: string): number {
  return parseCheckpoint(parseNote(note).text).size
}

async function checkpoints(
  analytics: Analytics,
  log: string,
  { above, order }: { above: number; order: 'ASC' | 'DESC' },
): Promise<string[]> {
  const rows = await analytics.rows<{ note: string }>(
    `SELECT note FROM {database:Identifier}.${CHECKPOINTS_TABLE}
     WHERE seals_log_id = unhex({log:String}) AND size > {above:UInt64} ORDER BY size ${order}, signed_at LIMIT 1`,
    { log, above },
  )
  return rows.map(({ note }) => note)
}

/** The tree over the first `size` seals of a log. */
export async function treeOf(analytics: Analytics, log: string, size: number): Promise<MerkleTree> {
  const tree = new MerkleTree()
  const rows = analytics.query(
    `SELECT toString(leaf_index) AS leaf, hex(SHA256(concat(char(0), note))) AS hash
     FROM {database:Identifier}.${SEALS_TABLE}
     WHERE seals_log_id = unhex({log:String}) AND leaf_index < {size:UInt64} ORDER BY leaf_index`,
    { schema: { parse: (row) => row as { leaf: string; hash: string } }, params: { log, size } },
  )
  for await (const { leaf, hash } of rows) {
    // A leaf that was stored twice is there twice.
    if (Number(leaf) === tree.size - 1) continue
    if (Number(leaf) !== tree.size) break
    tree.append(Buffer.from(hash, 'hex'))
  }
  if (tree.size === size) return tree
  const message = `the trail has no seal ${tree.size} of the log ${log}, though a checkpoint holds ${size}; run agent-audit verify`
  throw new IntegrityError('SEAL_INVALID', message)
}
