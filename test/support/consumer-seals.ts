/** Reads the seals of consumers back, and checks them against the rows that ClickHouse has, without the code that made them. */
import { createHash } from 'node:crypto'
import { BLOCK_COLUMNS } from '@agent-audit/consumer/pipeline'
import { readContainer } from '@agent-audit/schemas'
import { type ConsumerSeal, parseConsumerSeal, type VerifierKey, verifyNote } from '@agent-audit/seals'

/** An administrator of ClickHouse. */
export interface StoreAdmin {
  readonly url: string
  readonly username: string
  readonly password: string
}

export interface SealedRange {
  readonly text: string
  readonly seal: ConsumerSeal
}

const HEAD = 'audit-seal/v1 consumer\n'

/** The seals of consumers among notes, each text once, by partition and offset. @throws IntegrityError unless a key has signed it */
export function sealedRanges(notes: readonly string[], keys: readonly VerifierKey[]): SealedRange[] {
  const texts = new Set(notes.filter((note) => note.startsWith(HEAD)).map((note) => verifyNote(note, keys).text))
  const seals = [...texts].map((text) => ({ text, seal: parseConsumerSeal(text) }))
  return seals.toSorted(({ seal: one }, { seal: other }) => one.partition - other.partition || one.first - other.first)
}

/** What is wrong with the seals of a partition: their ranges touch from 0 to the end, each has the hash of the text before. */
export function chainFaults(sealed: readonly SealedRange[], partition: number, end: number): string[] {
  const faults: string[] = []
  let [next, prev] = [0, 'none']
  for (const { text, seal } of sealed.filter((one) => one.seal.partition === partition)) {
    const name = `the seal of ${seal.first} to ${seal.last} of partition ${partition}`
    if (seal.first !== next) faults.push(`${name} begins at ${seal.first}, not at ${next}`)
    if ((seal.prev?.toString('hex') ?? 'none') !== prev) faults.push(`${name} follows on another text`)
    ;[next, prev] = [seal.last + 1, createHash('sha256').update(text).digest('hex')]
  }
  if (next !== end) faults.push(`the seals of partition ${partition} end below ${next}, its log below ${end}`)
  return faults
}

/** What is wrong with a seal's hashes, by the rows as `FORMAT Avro` gives them back to an administrator. */
export async function rowFaults(admin: StoreAdmin, { seal }: SealedRange): Promise<string[]> {
  const faults: string[] = []
  for (const [name, table] of [['events', 'audit_events'] as const, ['skipped', 'audit_skipped'] as const]) {
    const { count, digest } = seal[name]
    const found = await digestOf(admin, table, seal)
    const where = `the seal of ${seal.first} to ${seal.last} of partition ${seal.partition}`
    if (found.count !== count) faults.push(`${where} has ${count} ${name}, the table ${found.count}`)
    else if (!found.digest.equals(digest)) faults.push(`${where} has another hash of its ${name}`)
  }
  return faults
}

async function digestOf(
  { url, username, password }: StoreAdmin,
  table: 'audit_events' | 'audit_skipped',
  { logId, partition, first, last }: ConsumerSeal,
): Promise<{ count: number; digest: Buffer }> {
  const query = `SELECT ${BLOCK_COLUMNS[table].join(', ')} FROM ${table}
    WHERE log_id = unhex('${logId}') AND log_partition = ${partition} AND log_offset BETWEEN ${first} AND ${last}
    ORDER BY log_offset FORMAT Avro`
  const response = await fetch(`${url}/?database=audit&output_format_avro_codec=null`, {
    method: 'POST',
    body: query,
    headers: { 'X-ClickHouse-User': username, 'X-ClickHouse-Key': password },
  })
  const { count, data } = readContainer(Buffer.from(await response.arrayBuffer()))
  return { count, digest: createHash('sha256').update(data).digest() }
}
