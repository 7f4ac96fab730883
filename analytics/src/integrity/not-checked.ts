/** What a run of verify cannot say, in words. */
import type { JudgedSlots } from './rows/judge-slots.ts'
import type { UnsealedOffsets } from './rows/passed-partitions.ts'
import type { LogSearch } from './log-search/log-search.ts'
import type { PassedPartition } from './rows/row-pass.ts'
import type { SealBook } from './seal-log/seal-book.ts'
import type { TakenOver } from './increments/taken-over.ts'

export interface Unchecked {
  readonly isTrusted: boolean
  /** Whether one partition alone was read. */
  readonly onePartition: boolean
  readonly since: number | undefined
  readonly taken: TakenOver | undefined
  readonly policies: string | undefined
  readonly slots: JudgedSlots
  readonly notSealing: number
  readonly waiting: number
  readonly rows: UnsealedOffsets
  readonly partitions: readonly PassedPartition[]
  readonly book: SealBook
  readonly approvals: string | undefined
  readonly deadClaims: string | undefined
  /** Undefined: the log was not asked. */
  readonly search: LogSearch | undefined
}

export function notChecked(found: Unchecked): string[] {
  const { policies, slots, notSealing, rows, partitions, book, approvals } = found
  const expired = partitions.reduce((sum, { seals }) => sum + seals.expired, 0)
  const said: (string | false | undefined)[] = [
    !found.isTrusted &&
      'keys: there is no trust file, so whoever can write the tables may have made the seals; nor the checkpoints',
    ...chosen(found),
    policies,
    approvals,
    found.deadClaims,
    ...(found.search?.faults ?? []),
    notSealing > 0 && `${notSealing} events of producers that have no key in the trust file, or from before it`,
    rows.before > 0 && `${rows.before} rows from before the consumers had keys`,
    found.waiting > 0 && `${found.waiting} events of the last moments: the seals of their producers are not here yet`,
    rows.waiting > 0 && `${rows.waiting} rows of the last moments: the seals of their consumers are not here yet`,
    slots.waiting > 0 && `${slots.waiting} producer seals of the last moments: their records are not all stored yet`,
    slots.unmade > 0 && `the digest of ${slots.unmade} producer seals: records of them never came, or have expired`,
    expired > 0 && `the hashes of ${expired} consumer seals: rows of them have expired`,
    book.unanchored > 0 && `whether later seals were removed: ${book.unanchored} seals are in no checkpoint yet`,
    'what a producer left out before it sealed, and the order of events of different runs',
  ]
  return said.filter((text) => typeof text === 'string')
}

function chosen({ onePartition, since, taken }: Unchecked): (string | false)[] {
  const apart = 'what lies in several of them: completeness, conflicts, seals of producers with records elsewhere'
  return [
    onePartition && `other partitions, and ${apart}`,
    since !== undefined &&
      `rows appended before ${new Date(since).toISOString()}, and ${apart.replace('several of them', 'both')}`,
    taken !== undefined &&
      `what the run of ${taken.state.verified_at} has found right: ${taken.state.events} events, the seal log up to leaf ${taken.tree.size - 1}; only that the log extends it. --full reads it again`,
  ]
}
