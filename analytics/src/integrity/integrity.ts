/**
 * The check of integrity: the stored rows are those that producers and consumers have sealed, and the seals are those that the
 * notary's checkpoints hold. What is trusted comes from outside: the trust file and the checkpoints.
 */
import { SEALS_TABLE } from '@agent-audit/schemas'
import type { Trust } from '@agent-audit/seals'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { type Row, text } from '../connection/rows.ts'
import { checkCompleteness, type CompletenessOptions } from '../verify/completeness.ts'
import { notedNumbers } from '../verify/expired-offsets.ts'
import type { CompletenessSummary, RunReport } from '../verify/completeness-report.ts'
import { checkApprovals } from './signatures/approvals.ts'
import { type FoundCheckpoints, readCheckpoints } from './seal-log/checkpoints.ts'
import { contestDeadClaims } from './rows/dead-claims.ts'
import { checkErasures } from './signatures/erasures.ts'
import { RunFindings } from './explained.ts'
import { type Finding, Findings, type Severity } from './findings.ts'
import { judgeSlots } from './rows/judge-slots.ts'
import { type LogReader, type LogSearch, searchLog } from './log-search/log-search.ts'
import { notChecked } from './not-checked.ts'
import { counting, judgePartitions, partitionsToRead, type PartitionChoice } from './rows/passed-partitions.ts'
import { passRows } from './rows/row-pass.ts'
import { RunSeals } from './rows/run-seals.ts'
import type { Times } from './rows/unsealed-records.ts'
import { nameSessions } from './sessions-at.ts'
import { SealBook } from './seal-log/seal-book.ts'
import { readSealLog, type SealLogReport } from './seal-log/seal-log.ts'
import { checkStore } from './store-check.ts'
import { leaveOver, lookUpRuns } from './increments/leave-over.ts'
import { type TakenOver, takeOver } from './increments/taken-over.ts'
import { digestOfTrust, type VerifiedState } from './increments/verified-state.ts'

const SEAL_LOGS = `SELECT DISTINCT lower(hex(seals_log_id)) AS log FROM {database:Identifier}.${SEALS_TABLE}`

export interface IntegrityOptions extends CompletenessOptions, PartitionChoice {
  /** Undefined: no key is checked, and no checkpoint. */
  readonly trust: Trust | undefined
  /** Notes of checkpoints that were kept outside of the database. */
  readonly checkpoints?: readonly string[] | undefined
  /** What a run before has found right: only what is new is read. With `partition` or `since` it is not used. */
  readonly from?: VerifiedState | undefined
  /** Records that were appended so long ago count as late if they are not sealed. @defaultValue one hour */
  readonly sealedWithinMs?: number | undefined
  /** What came within this time may wait for its seal, and a seal for its records: no finding. @defaultValue 0 */
  readonly settleMs?: number | undefined
  /** Looks for missing and conflicting records in the log. Undefined, or with `partition` or `since`: only the tables are read. */
  readonly log?: LogReader | undefined
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
  /** What an earlier run has found right, and this one has not read again; null: nothing. */
  readonly from: { readonly verified_at: string; readonly events: number; readonly leaves: number } | null
  /** For the next run to go on from; null, unless all of the trail is verified now. */
  readonly state: VerifiedState | null
  /** Null, unless all rows were read. */
  readonly completeness: CompletenessSummary | null
}

const HOUR_MS = 3_600_000
/** 32 bytes each. */
const MAX_KEPT_LEAVES = 2 ** 21

/**
 * @throws TrailError as {@link Analytics.rows}: then the check has no result. IntegrityError `STORE_UNFIT`, if a view or another
 * engine stands in the place of a table. InvalidInputError `OPTIONS_INVALID`, if `from` is not of this trail: {@link faultOfState}.
 */
export async function checkIntegrity(connection: Analytics, options: IntegrityOptions): Promise<Integrity> {
  const startedAt = Date.now()
  const findings = new Findings()
  const trail = { startedAt, ...(await readTrail(connection, options, findings)) }
  const read = { ...trail, search: await searchFor(trail, options) }
  const { analytics, checkpoints, log, completeness, pass, book, taken } = read
  const notSaid = judge(read, options, findings)
  const verdict = verdictOf(findings)
  const { trust } = options
  const mayLeave = verdict === 'verified' && !isPartial(options) && trust !== undefined
  const left = { ...read, events: pass.events, expected: trust?.producers ?? [] }
  return {
    verdict,
    tier: trust === undefined ? 'none' : tierOf(checkpoints, log),
    events: pass.events,
    skipped: pass.skipped,
    sealed_events: pass.sealedEvents,
    sealed_rows: pass.storedSealed,
    seals: { ...log, counted: book.seals, unanchored: book.unanchored },
    counts: findings.counts,
    findings: await nameSessions(analytics, findings.named),
    truncated: findings.truncated || completeness?.truncated === true,
    not_checked: notSaid,
    from: fromOf(taken),
    state: mayLeave ? (leaveOver({ ...left, trust: digestOfTrust(trust) }) ?? null) : null,
    completeness,
  }
}

/** Reads the seals, and then the rows. */
async function readTrail(connection: Analytics, options: IntegrityOptions, findings: Findings) {
  const { trust, from } = options
  const policies = await checkStore(connection, findings)
  const { analytics } = await withoutQuarantined(connection)
  const taken = from === undefined || isPartial(options) ? undefined : takeOver(from)
  // Checkpoints first: each of the seals that they hold was stored before.
  const checkpoints = await readCheckpoints(analytics, { ...options, fromSize: taken?.tree.size ?? 0 }, findings)
  const book = new SealBook(trust, findings)
  const { report: log, tree } = await readSealLog(analytics, checkpoints, { book, taken, findings })
  if (trust !== undefined) expectCheckpoint(trust, checkpoints, log, findings)
  const numbers = new RunFindings()
  const isWhole = !isPartial(options) && taken === undefined
  const completeness = isWhole ? await checkCompleteness(connection, takeRun(numbers, options), options) : null
  const partitions = await partitionsToRead(analytics, options, { book, taken, findings })
  if (taken !== undefined) await lookUpRuns(analytics, taken, { book, partitions })
  const kept = options.log && { left: MAX_KEPT_LEAVES }
  const runs = new RunSeals(book, findings, { taken, kept })
  for (const [run, seq] of contestedIn(completeness, numbers)) runs.contest(run, seq)
  const deadClaims = isWhole ? await contestDeadClaims(analytics, runs) : undefined
  const onProgress = counting(partitions, options.onProgress)
  const pass = await passRows(partitions, { analytics, runs, findings, onProgress })
  const approvals = trust && (await checkApprovals(analytics, { trust, partitions, findings }))
  if (trust !== undefined) await checkErasures(analytics, { trust, partitions, findings })
  const expired = await notedNumbers(analytics, runs.openRuns())
  const seals = { checkpoints, book, log, tree, runs, taken }
  return { analytics, policies, approvals, deadClaims, expired, completeness, numbers, partitions, pass, ...seals }
}

type Trail = Awaited<ReturnType<typeof readTrail>> & { readonly startedAt: number }

/** @returns undefined, if the log is not to be asked. */
async function searchFor(trail: Trail, options: IntegrityOptions): Promise<LogSearch | undefined> {
  const { log, onProgress } = options
  if (log === undefined || isPartial(options)) return undefined
  const { settledMs } = timesOf({ ...options, startedAt: trail.startedAt })
  return searchLog({ ...trail, log, settledMs, onProgress })
}

/** @returns what it cannot say. */
function judge(
  read: Trail & { readonly search: LogSearch | undefined },
  options: IntegrityOptions,
  findings: Findings,
): string[] {
  const { runs, completeness, expired, search, partitions, numbers, taken, startedAt } = read
  const { trust, since } = options
  const times = timesOf({ ...options, startedAt })
  const slotOptions = { ...times, partial: isPartial(options), complete: completeness !== null, expired, search }
  const slots = judgeSlots(runs, findings, slotOptions)
  const unsealed = runs.unsealed.judge(findings, times)
  const rows = judgePartitions(partitions, { trust, findings, ...times })
  if (completeness !== null) numbers.judge(completeness, runs, slots.decided, findings)
  if (trust !== undefined) expectProducers(trust, runs, taken, findings)
  const chosen = { isTrusted: trust !== undefined, onePartition: options.partition !== undefined, since }
  return notChecked({ ...read, ...unsealed, ...chosen, slots, rows })
}

function isPartial({ partition, since }: IntegrityOptions): boolean {
  return partition !== undefined || since !== undefined
}

interface Timed extends Pick<IntegrityOptions, 'sealedWithinMs' | 'settleMs'> {
  readonly startedAt: number
}

function timesOf({ startedAt, sealedWithinMs = HOUR_MS, settleMs = 0 }: Timed): Times {
  const nowMs = Date.now()
  return { youngMs: nowMs - sealedWithinMs, settledMs: settleMs === 0 ? Infinity : startedAt - settleMs, nowMs }
}

function takeRun(numbers: RunFindings, { onRun }: IntegrityOptions): (run: RunReport) => void {
  return (run) => {
    numbers.add(run)
    onRun?.(run)
  }
}

function contestedIn(summary: CompletenessSummary | null, numbers: RunFindings): [string, number][] {
  const conflicts = (summary?.partitions ?? []).flatMap(({ conflicting }) =>
    conflicting.map(({ run_id, run_seq }): [string, number] => [run_id, run_seq]),
  )
  return [...conflicts, ...numbers.contested]
}

function expectProducers(trust: Trust, runs: RunSeals, taken: TakenOver | undefined, findings: Findings): void {
  const sealing = new Set([...runs.producers, ...(taken?.state.producers ?? [])])
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

/** Whether any seal is stored. */
export async function hasSeals(analytics: Analytics): Promise<boolean> {
  return (await analytics.rows<Row>(SEAL_LOGS)).length > 0
}

/** Why a state cannot be used: it is of another trail, or of another trust file. Undefined: it can. */
export async function faultOfState(
  analytics: Analytics,
  state: VerifiedState,
  trust: Trust,
): Promise<string | undefined> {
  if (state.trust !== digestOfTrust(trust)) return 'the trust file is another one than in that run'
  const rows = await analytics.rows<Row>(SEAL_LOGS)
  const logs = rows.map((row) => text(row, 'log'))
  if (logs.length === 0 || (logs.length === 1 && logs[0] === state.seals_log_id)) return undefined
  return `it is of the seal log ${state.seals_log_id}, and ${logs.join(', ')} is stored`
}

function fromOf(taken: TakenOver | undefined): Integrity['from'] {
  if (taken === undefined) return null
  const { verified_at, events } = taken.state
  return { verified_at, events, leaves: taken.tree.size }
}
