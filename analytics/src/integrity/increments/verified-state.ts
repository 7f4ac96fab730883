/**
 * What a run of verify has found right, so that the next one reads only what is new: how far each partition and each run is
 * verified, and the right edge of the seal log's tree. It is a file of the verifier, outside of the trail.
 */
import { createHash } from 'node:crypto'
import { IntegrityError } from '@agent-audit/schemas'
import { formatTrust, type Trust } from '@agent-audit/seals'

/** The last verified seal of a run; hashes as Base64. */
export interface VerifiedRun {
  readonly run_id: string
  readonly producer_id: string
  readonly topic: string
  readonly leaf: number
  readonly number: number
  readonly last: number
  readonly hash: string
  readonly text_hash: string
  readonly state: 'open' | 'closed' | 'adopted'
}

export interface VerifiedPartition {
  readonly log_id: string
  readonly partition: number
  /** The first offset that is not verified: behind the last verified seal of a consumer. */
  readonly next: number
  /** The last offset that was read. */
  readonly read_to: number
  /** Of the text of that seal, as Base64. */
  readonly seal: string
}

export interface VerifiedState {
  /** SHA-256 of the trust file's text without its signatures, as hex. */
  readonly trust: string
  readonly seals_log_id: string
  /** When that run began: ISO 8601. */
  readonly verified_at: string
  /** Leaves of the seal log that were read. */
  readonly leaves: number
  /** The tree to go on from; its size is that of the leaves, less those whose records had not all come. Hashes as Base64. */
  readonly tree: { readonly size: number; readonly hashes: readonly string[] }
  readonly partitions: readonly VerifiedPartition[]
  /** Runs that have not ended, or ended behind the tree's size. */
  readonly runs: readonly VerifiedRun[]
  /** Producers whose seals were there, of those that the trust file expects. */
  readonly producers: readonly string[]
  /** Of all runs of verify so far. */
  readonly events: number
}

const HEAD = 'audit-verify-state/v1 sha256 '

/** A first line with the digest of the rest, then JSON. */
export function formatVerifiedState(state: VerifiedState): string {
  const body = `${JSON.stringify(state)}\n`
  return `${HEAD}${digestOf(body)}\n${body}`
}

/** @throws IntegrityError `SEAL_INVALID`, if the text is damaged or of another version */
export function parseVerifiedState(text: string): VerifiedState {
  const end = text.indexOf('\n')
  const [head, body] = [text.slice(0, end), text.slice(end + 1)]
  if (!head.startsWith(HEAD)) throw new IntegrityError('SEAL_INVALID', `expected "${HEAD}<digest>" in the first line`)
  if (head !== `${HEAD}${digestOf(body)}`) throw new IntegrityError('SEAL_INVALID', 'it is damaged or cut')
  return JSON.parse(body) as VerifiedState
}

export function digestOfTrust(trust: Trust): string {
  return createHash('sha256').update(formatTrust(trust)).digest('hex')
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}
