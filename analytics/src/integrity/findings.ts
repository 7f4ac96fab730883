/** What the check of integrity finds, with its places. */

/**
 * tampering: stored data, a seal or a checkpoint is not what was signed. unchecked: a key, a schema or a checkpoint is missing, so
 * that a part could not be checked. incomplete: sealed records are not stored, or stored records are not sealed (yet).
 */
export type Severity = 'tampering' | 'unchecked' | 'incomplete'

export type FindingCode =
  | 'checkpoint-invalid'
  | 'checkpoint-missing'
  | 'log-forked'
  | 'log-cut'
  | 'leaf-missing'
  | 'leaf-repeated'
  | 'seal-invalid'
  | 'key-missing'
  | 'key-foreign'
  | 'key-out-of-time'
  | 'signature-wrong'
  | 'seal-forked'
  | 'seal-too-large'
  | 'seal-missing'
  | 'seal-out-of-chain'
  | 'rows-changed'
  | 'rows-unsealed'
  | 'schema-unknown'
  | 'records-changed'
  | 'records-missing'
  | 'record-inserted'
  | 'records-unsealed'
  | 'approval-forged'
  | 'conflict-decided'
  | 'conflict-undecided'
  | 'producer-silent'
  | 'row-repeated'
  | 'row-policy'
  | 'completeness'
  | 'erasure-forged'
  | 'erasure-unsigned'

/** Ranges have both ends; a field is absent where it does not apply. */
export interface Place {
  /** Index in the seal log. */
  readonly leaf?: number
  /** 16 hex digits. */
  readonly log_id?: string
  readonly partition?: number
  readonly first_offset?: number
  readonly last_offset?: number
  readonly producer_id?: string
  /** 32 hex digits. */
  readonly run_id?: string
  readonly first_run_seq?: number
  readonly last_run_seq?: number
}

export interface Finding extends Place {
  readonly severity: Severity
  readonly code: FindingCode
  readonly message: string
  /** Sessions of the rows at the place, at most 20. */
  readonly sessions?: readonly string[]
}

const MAX_NAMED = 1000

/** All findings are counted; the first ones are named. */
export class Findings {
  readonly named: Finding[] = []
  readonly counts: Record<Severity, number> = { tampering: 0, unchecked: 0, incomplete: 0 }

  add(severity: Severity, code: FindingCode, message: string, place: Place = {}): void {
    this.counts[severity]++
    if (this.named.length < MAX_NAMED) this.named.push({ severity, code, message, ...place })
  }

  get truncated(): boolean {
    return this.counts.tampering + this.counts.unchecked + this.counts.incomplete > this.named.length
  }
}
