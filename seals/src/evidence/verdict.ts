/** What a check of a bundle says. */
import { TrailError } from '@agent-audit/schemas'

/** unchecked: something is missing that the check needs. incomplete: what is there is right, and something of the session is not. */
export type EvidenceVerdict = 'verified' | 'incomplete' | 'unchecked' | 'tampered'

/**
 * - `bundle`: the file is not as it was written; `trust`: nor its trust file; `schema`, `record`, `report`: nor that part
 * - `signature`: a wrong one; `key`: it is missing, has another role, or did not count at that time
 * - `seal`: records or leaves are not what was sealed; `proof`: the log does not have the seal
 * - `checkpoint`: it is missing, or lacks a signed time; `fork`: two checkpoints contradict each other
 * - `conflict`: sealed records contradict each other
 * - `approval`: a signed decision does not count, or is not the one that its record names
 * - `unsealed`, `gap`, `end`, `run`: records without a seal, missing session_seqs, a run that does not end the session, a missing run
 * - `keys`: the keys come from the bundle alone
 */
export type FindingKind =
  | 'bundle'
  | 'trust'
  | 'schema'
  | 'record'
  | 'report'
  | 'signature'
  | 'key'
  | 'seal'
  | 'proof'
  | 'checkpoint'
  | 'fork'
  | 'conflict'
  | 'approval'
  | 'unsealed'
  | 'gap'
  | 'end'
  | 'run'
  | 'keys'

export interface EvidenceFinding {
  readonly verdict: Exclude<EvidenceVerdict, 'verified'>
  readonly kind: FindingKind
  /** The part of the bundle, such as `run 0190…, run_seq 4 to 9` or `checkpoint 12`. */
  readonly where: string
  /** What is wrong there. Without content of events. */
  readonly message: string
}

const ORDER: readonly EvidenceVerdict[] = ['verified', 'incomplete', 'unchecked', 'tampered']

/** Collects findings. The worst of them is the verdict. */
export class Findings {
  readonly all: EvidenceFinding[] = []

  add(verdict: EvidenceFinding['verdict'], kind: FindingKind, where: string, message: string): void {
    this.all.push({ verdict, kind, where, message })
  }

  /** Does what throws for a changed bundle. @returns undefined, if it has thrown */
  try<T>(kind: FindingKind, where: string, read: () => T): T | undefined {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof TrailError)) throw error
      this.add('tampered', error.code === 'SIGNATURE_INVALID' ? 'signature' : kind, where, error.message)
      return undefined
    }
  }

  get verdict(): EvidenceVerdict {
    const found = new Set<EvidenceVerdict>(this.all.map(({ verdict }) => verdict))
    return ORDER.findLast((verdict) => found.has(verdict)) ?? 'verified'
  }
}

export function placeOf(runId: string, first: number, last: number): string {
  return `run ${runId}, run_seq ${first === last ? first : `${first} to ${last}`}`
}
