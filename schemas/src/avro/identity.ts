/** Who a record says it is, also where the rest of it cannot be read: every version begins with these two fields. */
import type avsc from 'avsc'
import { loadAvsc } from './lazy-avsc.ts'

export interface ReadIdentity {
  /** 16 bytes. */
  readonly runId: Buffer
  readonly runSeq: number
}

let identityType: avsc.Type | undefined

const IDENTITY: avsc.Schema = {
  type: 'record',
  name: 'Identity',
  fields: [
    { name: 'run_id', type: { type: 'fixed', name: 'run_id', size: 16 } },
    { name: 'run_seq', type: 'long' },
  ],
}

/** @returns undefined where the bytes end before, or hold no run_seq from 0 to 2^53 - 1. */
export function readIdentity(message: Buffer, bodyStart: number): ReadIdentity | undefined {
  try {
    identityType ??= loadAvsc().Type.forSchema(IDENTITY)
    const { value, offset } = identityType.decode(message, bodyStart)
    if (offset < 0) return undefined
    const { run_id: runId, run_seq: runSeq } = value as { run_id: Buffer; run_seq: number }
    return runSeq < 0 ? undefined : { runId: Buffer.from(runId), runSeq }
  } catch {
    // avsc refuses a long that a number cannot hold.
    return undefined
  }
}
