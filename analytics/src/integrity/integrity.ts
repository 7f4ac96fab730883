/**
 * The check of integrity: the stored rows are those that producers and consumers have sealed, and the seals are those that the
 * notary's checkpoints hold. What is trusted comes from outside: the trust file and the checkpoints.
 */
import { InvalidInputError } from '@agent-audit/schemas'
import type { Trust } from '@agent-audit/seals'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { type StoredPartition, storedPartitions } from '../queries/log-ranges.ts'
import { checkCompleteness, type CompletenessOptions } from '../verify/completeness.ts'
import type { CompletenessSummary, RunReport } from '../verify/completeness-report.ts'
import { notedOffsets } from '../verify/expired-offsets.ts'
import type { Range } from '../verify/ranges.ts'
import { chainOfPartition } from './chains.ts'
import { judgeErasures } from './erasures.ts'
import { type FoundCheckpoints, readCheckpoints } from './checkpoints.ts'
import { RunFindings } from './explained.ts'
import { type Finding, Findings, type Severity } from './findings.ts'
import { judgeSlots, type JudgedSlots } from './judge-slots.ts'
import { PartitionSeals } from './partition-seals.ts'
import { type PassedPartition, passRows } from './row-pass.ts'
import { RunSeals } from './run-seals.ts'
import { nameSessions } from './sessions-at.ts'
import { SealBook } from './seal-book.ts'
import { readSealLog, type SealLogReport } from './seal-log.ts'
import { checkStore } from './store-check.ts'

export interface IntegrityOptions extends CompletenessOptions {
  readonly trust: Trust
  /** Notes of checkpoints that were kept outside of the database. */
  readonly checkpoints?: readonly string[] | undefined
  /** Reads the rows of this partition alone, of this log or of each that has one of that number. @defaultValue all */
  readonly partition?: { readonly log?: string | undefined; readonly partition: number } | undefined
  /** Records that were appended so long ago count as late if they are not sealed. @defaultValue one hour */
  readonly sealedWithinMs?: number | undefined
  /** Told how many offsets of how many are read. */
  readonly onProgress?: ((read: number, total: number) => void) | undefined
  /** Gets the report of each run, of the check of completeness. */
  readonly onRun?: ((run: RunReport) => void) | undefined
}

/** Who could have changed the trail without a trace, given the checkpoints that were used. */
export type Tier = 'none' | 'database' | 'outside' | 'witness'

export interface Integrity {
  readonly verdict: 'verified' | Severity
  readonly tier: Tier
  readonly events: number
  readonly skipped: number
  /** Events in a producer's seal, and rows in a consumer's. */
  readonly sealed_events: number
  readonly sealed_rows: number
  readonly seals: SealLogReport & { readonly counted: number; readonly unanchored: number }
  readonly counts: Readonly<Record<Severity, number>>
  /** The first findings, with their places. */
  readonly findings: readonly Finding[]
  readonly truncated: boolean
  /** What the check could not say, in words. */
  readonly not_checked: readonly string[]
  /** Null for one partition alone. */
  readonly completeness: CompletenessSummary | null
}

const HOUR_MS = 3_600_000
/** Offsets that a log can have, and a number holds exactly. A row may stand at any other: it is named, and not read. */
const OFFSETS: Range = { first: 0, last: Number.MAX_SAFE_INTEGER - 1 }
/** The largest that both a number and an Int64 hold. */
const LARGEST = 2 ** 63 - 1024

/**
 * @throws TrailError as {@link Analytics.rows}: then the check has no result. IntegrityError `STORE_UNFIT`, if a view or another
 * engine stands in the place of a table.
 */
export async function checkIntegrity(connection: Analytics, options: IntegrityOptions): Promise<Integrity> {
  const findings = new Findings()
  const policies = await checkStore(connection, findings)
  const { analytics } = await withoutQuarantined(connection)
  const { trust } = options
  // Checkpoints first: each of the seals that they hold was stored before.
  const checkpoints = await readCheckpoints(analytics, trust, options.checkpoints ?? [], findings)
  const book = new SealBook(trust, findings)
  const log = await readSealLog(analytics, checkpoints, book, findings)
  expectCheckpoint(trust, checkpoints, log, findings)
  const numbers = new RunFindings()
  const whole = options.partition === undefined
  const completeness = whole ? await checkCompleteness(connection, takeRun(numbers, options), options) : null
  const runs = new RunSeals(book, findings)
  for (const [run, seq] of contestedIn(completeness, numbers)) runs.contest(run, seq)
  const partitions = chosen(await partitionsOf(analytics, book, findings), options)
  const pass = await passRows(partitions, { analytics, runs, findings, onProgress: counting(partitions, options) })
  const slots = judgeSlots(runs, findings, whole)
  const notSealing = judgeUnsealed(runs, options, findings)
  const beforeSealing = judgePartitions(partitions, trust, findings)
  if (completeness !== null) numbers.judge(completeness, runs, slots.decided, findings)
  expectProducers(trust, runs, findings)
  await judgeErasures(analytics, trust, findings)
  return {
    verdict: verdictOf(findings),
    tier: tierOf(checkpoints, log),
    events: pass.events,
    skipped: pass.skipped,
    sealed_events: pass.sealedEvents,
    sealed_rows: pass.storedSealed,
    seals: { ...log, counted: book.seals, unanchored: book.unanchored },
    counts: findings.counts,
    findings: await nameSessions(analytics, findings.named),
    truncated: findings.truncated || completeness?.truncated === true,
    not_checked: notChecked({ whole, policies, slots, notSealing, beforeSealing, partitions, book }),
    completeness,
  }
}

function takeRun(numbers: RunFindings, { onRun }: IntegrityOptions): (run: RunReport) => void {
  return (run) => {
    numbers.add(run)
    onRun?.(run)
  }
}

function judgeUnsealed(runs: RunSeals, { sealedWithinMs = HOUR_MS }: IntegrityOptions, findings: Findings): number {
  const now = Date.now()
  return runs.judgeUnsealed(findings, now - sealedWithinMs, now)
}

function contestedIn(summary: CompletenessSummary | null, numbers: RunFindings): [string, number][] {
  const conflicts = (summary?.partitions ?? []).flatMap(({ conflicting }) =>
    conflicting.map(({ run_id, run_seq }): [string, number] => [run_id, run_seq]),
  )
  return [...conflicts, ...numbers.contested]
}

/** All partitions with rows, or with seals whose rows are gone. */
async function partitionsOf(analytics: Analytics, book: SealBook, findings: Findings): Promise<PassedPartition[]> {
  const stored = (await storedPartitions(analytics)).map((partition) => withinLog(partition, findings))
  const noted = await notedOffsets(analytics)
  const keys = new Set(stored.map(({ log, partition }) => `${log}/${partition}`))
  const alone = [...book.partitions.keys()].filter((key) => !keys.has(key))
  const gone = alone.map((key) => {
    const [log = '', partition] = key.split('/')
    return { log, partition: Number(partition), first: 0, last: -1 }
  })
  return [...stored, ...gone].map((partition) => {
    const key = `${partition.log}/${partition.partition}`
    const seals = new PartitionSeals(chainOfPartition(book.partitions.get(key) ?? [], findings))
    return { ...partition, key, seals, expired: noted.get(key)?.ranges ?? [] }
  })
}

function withinLog(found: StoredPartition, findings: Findings): StoredPartition {
  const { log: log_id, partition, first, last } = found
  if (first >= OFFSETS.first && last <= OFFSETS.last) return found
  const place = { log_id, partition, first_offset: first, last_offset: Math.min(last, LARGEST) }
  findings.add('tampering', 'record-inserted', 'a row stands at an offset that no log has', place)
  return { ...found, first: Math.max(first, OFFSETS.first), last: Math.min(last, OFFSETS.last) }
}

/** @throws InvalidInputError `OPTIONS_INVALID`, if there is no such partition */
function chosen(
  partitions: readonly PassedPartition[],
  { partition: asked }: IntegrityOptions,
): readonly PassedPartition[] {
  if (asked === undefined) return partitions
  const found = partitions.filter((one) => one.partition === asked.partition && (asked.log ?? one.log) === one.log)
  if (found.length > 0) return found
  const known = partitions.map(({ log, partition }) => `${log}/${partition}`).slice(0, 20)
  throw new InvalidInputError(
    'OPTIONS_INVALID',
    `no such partition is stored or sealed; there are: ${known.join(', ')}`,
  )
}

function counting(partitions: readonly PassedPartition[], { onProgress }: IntegrityOptions): (offsets: number) => void {
  const total = partitions.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  let read = 0
  return (offsets) => onProgress?.((read += offsets), total)
}

/** Rows that no consumer has sealed. @returns rows from before the consumers' keys */
function judgePartitions(partitions: readonly PassedPartition[], trust: Trust, findings: Findings): number {
  const since = Math.min(...trust.keys.filter(({ role }) => role === 'consumer').map(({ notBefore }) => notBefore))
  let before = 0
  for (const { log, partition, seals } of partitions) {
    const { unsealed } = seals
    if (unsealed === undefined) continue
    if (unsealed.newestMs < since) {
      before += unsealed.count
      continue
    }
    const tail = unsealed.first > seals.sealedTo ? 'behind the last seal' : 'between or before seals'
    const place = { log_id: log, partition, first_offset: unsealed.first, last_offset: unsealed.last }
    findings.add('incomplete', 'rows-unsealed', `${unsealed.count} row(s) not sealed by a consumer, ${tail}`, place)
  }
  return before
}

function expectProducers(trust: Trust, runs: RunSeals, findings: Findings): void {
  const sealing = runs.producers
  for (const producer_id of trust.producers) {
    if (sealing.has(producer_id)) continue
    findings.add('incomplete', 'producer-silent', 'the trust file expects this producer, and it has no seal', {
      producer_id,
    })
  }
}

function expectCheckpoint(trust: Trust, { held }: FoundCheckpoints, log: SealLogReport, findings: Findings): void {
  if (held.length > 0 || log.leaves === 0 || findings.counts.tampering > 0) return
  const origin = trust.origin ?? 'the seal log'
  findings.add('unchecked', 'checkpoint-missing', `no checkpoint of ${origin}: whether seals were removed is not known`)
}

function verdictOf({ counts }: Findings): Integrity['verdict'] {
  return (['tampering', 'unchecked', 'incomplete'] as const).find((severity) => counts[severity] > 0) ?? 'verified'
}

function tierOf({ held }: FoundCheckpoints, log: SealLogReport): Tier {
  if (log.checkpoints === 0) return 'none'
  if (held.some(({ witnesses }) => witnesses.length > 0)) return 'witness'
  return log.anchored_outside > 0 ? 'outside' : 'database'
}

interface Unchecked {
  readonly whole: boolean
  readonly policies: string | undefined
  readonly slots: JudgedSlots
  readonly notSealing: number
  readonly beforeSealing: number
  readonly partitions: readonly PassedPartition[]
  readonly book: SealBook
}

function notChecked(found: Unchecked): string[] {
  const { whole, policies, slots, notSealing, beforeSealing, partitions, book } = found
  const expired = partitions.reduce((sum, { seals }) => sum + seals.expired, 0)
  return [
    ...(whole
      ? []
      : [
          'other partitions, and what lies in several: completeness, conflicts, seals of producers with records elsewhere',
        ]),
    ...(policies === undefined ? [] : [policies]),
    ...(notSealing > 0
      ? [`${notSealing} events of producers that have no key in the trust file, or from before it`]
      : []),
    ...(beforeSealing > 0 ? [`${beforeSealing} rows from before the consumers had keys`] : []),
    ...(slots.unmade > 0
      ? [`the digest of ${slots.unmade} producer seals: records of them never came, or have expired`]
      : []),
    ...(expired > 0 ? [`the hashes of ${expired} consumer seals: rows of them have expired`] : []),
    ...(book.unanchored > 0
      ? [`whether later seals were removed: ${book.unanchored} seals are in no checkpoint yet`]
      : []),
    'what a producer left out before it sealed, and the order of events of different runs',
  ]
}
