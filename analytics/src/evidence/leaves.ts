/** The leaves of the records that seals cover beside those of the session: hashes, without content. */
import { findSchema, IntegrityError, readFrame, SKIPPED_TABLE } from '@agent-audit/schemas'
import { leafHash, LEAF_BYTES, type ProducerSeal } from '@agent-audit/seals'
import type { Analytics } from '../connection/clickhouse.ts'
import { storedRecords } from './record-rows.ts'
import type { StoredSeal } from './seal-rows.ts'

/** Seals that one query reads: at most 20 times 1,024 records, but for a slow signer. */
const SEALS_OF_QUERY = 20

interface Own {
  readonly runId: string
  readonly runSeq: number
}

type Leaves = Map<number, Buffer>
const NO_NUMBERS: ReadonlySet<number> = new Set()

/**
 * Of each seal the leaves of its other records, back to back in the order of run_seq.
 * @param own - The records whose leaves are not needed.
 * @throws IntegrityError `SEAL_INVALID`, if such a record is nowhere in the trail: without its leaf the seal proves nothing.
 */
export async function leavesOf(
  analytics: Analytics,
  seals: readonly StoredSeal[],
  own: readonly Own[],
): Promise<Buffer[]> {
  const known = new Map<string, Set<number>>()
  for (const { runId, runSeq } of own) known.set(runId, (known.get(runId) ?? new Set()).add(runSeq))
  const leaves = new Map<StoredSeal, Buffer>()
  for (const group of Map.groupBy(seals, ({ seal }) => `${seal.runId} ${seal.schema}`).values()) {
    for (let at = 0; at < group.length; at += SEALS_OF_QUERY) {
      const some = group.slice(at, at + SEALS_OF_QUERY)
      const wanted = some.map(({ seal }) => numbersOf(seal, known.get(seal.runId) ?? NO_NUMBERS))
      const sealed = some.map(({ seal }) => seal)
      const found = await readLeaves(analytics, sealed, new Set(wanted.flat()))
      for (const [index, stored] of some.entries()) leaves.set(stored, joined(stored.seal, wanted[index] ?? [], found))
    }
  }
  return seals.map((stored) => leaves.get(stored) ?? Buffer.alloc(0))
}

/** @param seals - Of one run and one schema. */
async function readLeaves(
  analytics: Analytics,
  seals: readonly ProducerSeal[],
  wanted: ReadonlySet<number>,
): Promise<Leaves> {
  const leaves: Leaves = new Map<number, Buffer>()
  const version = seals[0] === undefined ? undefined : findSchema(BigInt(`0x${seals[0].schema}`))
  if (version === undefined || wanted.size === 0) return leaves
  const params = {
    runId: seals[0]?.runId,
    firsts: seals.map(({ first }) => first),
    lasts: seals.map(({ last }) => last),
  }
  const rows = await storedRecords(analytics, version, { condition: IN_SEALS, params })
  for (const { runSeq, body } of rows) {
    if (wanted.has(runSeq) && !leaves.has(runSeq)) leaves.set(runSeq, leafHash(body))
  }
  // A record that the consumer refused is a dead letter, with all of its bytes.
  if (leaves.size < wanted.size) await readDead(analytics, params, leaves)
  return leaves
}

const IN_SEALS = `e.run_id = unhex({runId:String})
  AND arrayExists((first, last) -> e.run_seq BETWEEN first AND last, {firsts:Array(Int64)}, {lasts:Array(Int64)})`

async function readDead(
  analytics: Analytics,
  params: Readonly<Record<string, unknown>>,
  leaves: Leaves,
): Promise<void> {
  const rows = await analytics.rows<{ seq: string; value: string }>(
    `SELECT toString(e.run_seq) AS seq, hex(e.value) AS value FROM {database:Identifier}.${SKIPPED_TABLE} AS e
     WHERE e.kind = 'dead' AND e.value IS NOT NULL AND ${IN_SEALS} ORDER BY e.log_id, e.log_partition, e.log_offset`,
    params,
  )
  for (const { seq, value } of rows) {
    const message = Buffer.from(value, 'hex')
    const frame = readFrame(message)
    if (frame.kind === 'unknown' || leaves.has(Number(seq))) continue
    leaves.set(Number(seq), leafHash(message.subarray(frame.bodyStart)))
  }
}

function joined(seal: ProducerSeal, wanted: readonly number[], leaves: Leaves): Buffer {
  const missing = wanted.filter((number) => !leaves.has(number))
  if (missing.length > 0) {
    const { runId, number, first, last } = seal
    const named = missing.slice(0, 5).join(', ')
    const message = `seal ${number} of run ${runId} covers run_seq ${first} to ${last}, and the trail does not have ${named}: without them it proves nothing; agent-audit verify says what is missing`
    throw new IntegrityError('SEAL_INVALID', message)
  }
  return Buffer.concat(
    wanted.map((number) => leaves.get(number) ?? Buffer.alloc(0)),
    wanted.length * LEAF_BYTES,
  )
}

/** The sealed run_seqs whose leaves the bundle needs. */
function numbersOf({ first, last, gaps }: ProducerSeal, known: ReadonlySet<number>): number[] {
  const numbers: number[] = []
  for (let next = first; next <= last; next++) {
    const gap = gaps.find((each) => each.first <= next && next <= each.last)
    if (gap !== undefined) next = gap.last
    else if (!known.has(next)) numbers.push(next)
  }
  return numbers
}
