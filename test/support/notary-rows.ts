/** The tables of the notary, filled from the notes of a really sealed run. */
import { parseCheckpoint, parseNote, parseProducerSeal } from '@agent-audit/seals'
import type { Store } from '../consumer/support.ts'
import { notarize, type SealedLog } from './evidence.ts'

const SEALS_LOG = '5ea15ea15ea15ea1'

function textOf(text: string): string {
  return `unhex('${Buffer.from(text).toString('hex')}')`
}

/** Stores the notes as the leaves of one log, and its checkpoints. */
export async function storeSeals(store: Store, log: SealedLog): Promise<void> {
  const seals = log.notes.map((note, index) => {
    const { topic, producerId, runId, number, first, last } = parseProducerSeal(parseNote(note).text)
    const place = `unhex('${SEALS_LOG}'), ${index}, ${index}, '${topic}.seals', 'producer', ${textOf(note)}, 'key'`
    return `(${place}, '${topic}', ${textOf(producerId)}, unhex('${runId}'), ${number}, ${first}, ${last})`
  })
  await send(
    store,
    `INSERT INTO audit_seals (seals_log_id, leaf_index, seals_offset, seals_topic, kind, note, key_name, topic, producer_id, run_id,
      number, first_number, last_number) VALUES ${seals.join(', ')}`,
  )
  const checkpoints = [...notarize(log).notes.values()].map((note) => {
    const { origin, size, root } = parseCheckpoint(parseNote(note).text)
    return `(unhex('${SEALS_LOG}'), ${size}, '${origin}', unhex('${root.toString('hex')}'), ${textOf(note)}, now64(3))`
  })
  const columns = 'seals_log_id, size, origin, root, note, signed_at'
  await send(store, `INSERT INTO audit_checkpoints (${columns}) VALUES ${checkpoints.join(', ')}`)
}

async function send(store: Store, statement: string): Promise<void> {
  const answer = await store.send(statement, store.dataDir.notary)
  if (answer !== '') throw new Error(answer)
}
