/** The log of the seals of a test's trail: its checkpoints, and its tables as the notary fills them. */
import {
  formatNote,
  type KeySigner,
  leafHash,
  MerkleTree,
  parseConsumerSeal,
  parseProducerSeal,
  signCheckpoint,
} from '@agent-audit/seals'
import { expect } from 'vitest'
import type { Store } from '../consumer/support.ts'

export const ORIGIN = 'seals.test/trail'

/** Checkpoints of these sizes, by the notary, a second apart and the newest of now. */
export function checkpointsOf(notes: readonly string[], sizes: readonly number[], notary: KeySigner): string[] {
  const tree = new MerkleTree()
  for (const note of notes) tree.append(leafHash(note))
  const now = Math.floor(Date.now() / 1000)
  return sizes.map((size, index) =>
    signCheckpoint(notary, { origin: ORIGIN, size, root: tree.root(size) }, now - sizes.length + index),
  )
}

/** Puts notes into audit_seals and checkpoints into audit_checkpoints of a database, as the notary does. */
export async function storeSealLog(
  store: Store,
  database: string,
  { notes, checkpoints }: { readonly notes: readonly string[]; readonly checkpoints: readonly string[] },
): Promise<void> {
  const seals = notes.map((note, index) => {
    const text = note.slice(0, note.lastIndexOf('\n\n') + 1)
    return {
      seals_log_id: "unhex('0123456789abcdef')",
      leaf_index: index,
      seals_offset: index,
      ...columnsOf(text),
      note: quoted(note),
    }
  })
  await insert(store, `${database}.audit_seals`, seals)
  const rows = checkpoints.map((note) => {
    const [origin = '', size = '', root = ''] = note.split('\n')
    return {
      seals_log_id: "unhex('0123456789abcdef')",
      size,
      origin: quoted(origin),
      root: `unhex('${Buffer.from(root, 'base64').toString('hex')}')`,
      note: quoted(note),
      signed_at: 'now64(3)',
    }
  })
  await insert(store, `${database}.audit_checkpoints`, rows)
}

function columnsOf(text: string): Record<string, string | number> {
  if (text.startsWith('audit-seal/v1 producer\n')) {
    const { topic, producerId, runId, number, first, last } = parseProducerSeal(text)
    const run = { producer_id: quoted(producerId), run_id: `unhex('${runId}')`, number }
    return {
      kind: quoted('producer'),
      topic: quoted(topic),
      ...run,
      log_id: 'NULL',
      log_partition: 'NULL',
      first_number: first,
      last_number: last,
    }
  }
  const { topic, logId, partition, first, last } = parseConsumerSeal(text)
  const run = { producer_id: 'NULL', run_id: 'NULL', number: 'NULL' }
  return {
    kind: quoted('consumer'),
    topic: quoted(topic),
    ...run,
    log_id: `unhex('${logId}')`,
    log_partition: partition,
    first_number: first,
    last_number: last,
  }
}

async function insert(store: Store, table: string, rows: readonly Record<string, string | number>[]): Promise<void> {
  const [first] = rows
  if (first === undefined) return
  const values = rows.map((row) => `(${Object.values(row).join(', ')})`).join(',\n')
  const answer = await store.send(
    `INSERT INTO ${table} (${Object.keys(first).join(', ')}) VALUES ${values}`,
    store.dataDir.admin,
  )
  expect(answer).toBe('')
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

/** The text of a note signed anew by another key under the same name. */
export function signedBy(note: string, signer: KeySigner): string {
  const text = note.slice(0, note.lastIndexOf('\n\n') + 1)
  return formatNote(text, [signer.signatureLine(text)])
}
