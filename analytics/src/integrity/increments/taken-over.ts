/** What a run of verify takes over from the one before. */
import type { SealState } from '@agent-audit/seals'
import type { BookedProducerSeal } from '../seal-log/seal-book.ts'
import type { VerifiedState } from './verified-state.ts'

/** The last verified seal of a run. */
export type TakenRun = Pick<BookedProducerSeal, 'leaf' | 'runId' | 'number' | 'last' | 'topic' | 'producerId'> &
  Pick<BookedProducerSeal, 'hash' | 'textHash' | 'state'> & {
    /** Leaves below it were read before. */
    readonly readTo: number
  }

/** The last verified seal of a partition. */
export interface TakenSeal {
  readonly last: number
  readonly textHash: Buffer
  /** Leaves below it were read before. */
  readonly readTo: number
  /** The last offset that was read. */
  readonly offsetsTo: number
}

export interface TakenOver {
  readonly state: VerifiedState
  readonly logId: string
  readonly leaves: number
  readonly tree: { readonly size: number; readonly hashes: readonly Buffer[] }
  /** By `<log_id>/<partition>`. */
  readonly partitions: ReadonlyMap<string, TakenSeal>
  /** By run_id, 32 hex digits. */
  readonly runs: Map<string, TakenRun>
}

export const bytesOf = (base64: string): Buffer => Buffer.from(base64, 'base64')

export function takeOver(state: VerifiedState): TakenOver {
  const readTo = state.leaves
  const runs = state.runs.map(({ run_id, producer_id, hash, text_hash, state: kind, ...rest }): [string, TakenRun] => {
    // The adopter's name is not needed.
    const ended: SealState = kind === 'adopted' ? { kind, by: run_id } : { kind }
    const hashes = { hash: bytesOf(hash), textHash: bytesOf(text_hash) }
    return [run_id, { ...rest, runId: run_id, producerId: producer_id, ...hashes, state: ended, readTo }]
  })
  const partitions = state.partitions.map(({ log_id, partition, next, read_to, seal }): [string, TakenSeal] => {
    return [`${log_id}/${partition}`, { last: next - 1, textHash: bytesOf(seal), readTo, offsetsTo: read_to }]
  })
  const tree = { size: state.tree.size, hashes: state.tree.hashes.map(bytesOf) }
  const { seals_log_id: logId, leaves } = state
  return { state, logId, leaves, tree, partitions: new Map(partitions), runs: new Map(runs) }
}
