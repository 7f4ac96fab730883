/** What the check of completeness found, as far as the producer's own seals do not explain it. */
import type { CompletenessSummary, RunReport } from '../verify/completeness-report.ts'
import { split } from '../verify/ranges.ts'
import type { Findings, Place } from './findings.ts'
import type { RunSeals } from './rows/run-seals.ts'

/** Numbers of a run that are not stored; claimed: a record that is no proof says why. */
interface MissingNumbers {
  readonly run_id: string
  readonly producer_id: string
  readonly first: number
  readonly last: number
  readonly claimed: boolean
}

const MAX_KEPT = 100_000
const MAX_CONTESTED = 100_000

/** Collects the findings of runs while completeness reports them. */
export class RunFindings {
  readonly #missing: MissingNumbers[] = []
  /** Numbers that several rows have. */
  readonly contested: [string, number][] = []
  #unkept = 0
  #overstated = 0
  #repeated: { run_id: string; run_seq: number; altered: boolean }[] = []

  add(report: RunReport): void {
    const { run_id, producer_id, gaps, claims, repeats, overstated } = report
    this.#overstated += overstated
    for (const [ranges, claimed] of [
      [gaps, false],
      [claims, true],
    ] as const) {
      for (const { first, last } of ranges) {
        if (this.#missing.length >= MAX_KEPT) this.#unkept++
        else this.#missing.push({ run_id, producer_id, first, last, claimed })
      }
    }
    for (const { run_seq, altered } of repeats) {
      if (this.contested.length < MAX_CONTESTED) this.contested.push([run_id, run_seq])
      this.#repeated.push({ run_id, run_seq, altered })
    }
  }

  /** After the pass. @param decided - Numbers of which the seals have said which record is real, as `<run>:<seq>`. */
  judge(summary: CompletenessSummary, runs: RunSeals, decided: ReadonlySet<string>, findings: Findings): void {
    for (const { run_id, producer_id, first, last, claimed } of this.#missing) {
      for (const range of split([{ first, last }], runs.explained(run_id)).outside) {
        const place = { run_id, producer_id, first_run_seq: range.first, last_run_seq: range.last }
        const why = claimed ? 'not stored, for a reason that only another run or a dead letter claims' : 'not stored'
        findings.add('incomplete', 'records-missing', `numbers of the run are ${why}`, place)
      }
    }
    if (this.#unkept > 0) findings.add('incomplete', 'completeness', `${this.#unkept} more gaps of runs, not named`)
    if (this.#overstated > 0)
      findings.add('tampering', 'completeness', `${this.#overstated} events wrongly noted as expired`)
    for (const { run_id, run_seq, altered } of this.#repeated) {
      if (decided.has(`${run_id}:${run_seq}`)) continue
      const place = { run_id, first_run_seq: run_seq, last_run_seq: run_seq }
      findings.add('tampering', 'row-repeated', altered ? 'stored twice, with other content' : 'stored twice', place)
    }
    for (const partition of summary.partitions) judgePartition(partition, decided, findings)
  }
}

function judgePartition(
  report: CompletenessSummary['partitions'][number],
  decided: ReadonlySet<string>,
  findings: Findings,
): void {
  const { log_id, partition, gaps, repeats, overstated, conflicting } = report
  const at = (first_offset: number, last_offset: number): Place => ({ log_id, partition, first_offset, last_offset })
  for (const { first, last } of gaps)
    findings.add('incomplete', 'records-missing', 'offsets without a row', at(first, last))
  for (const { offset, altered } of repeats) {
    const message = altered ? 'the offset has two rows, which differ' : 'the offset has two rows'
    findings.add('tampering', 'row-repeated', message, at(offset, offset))
  }
  if (overstated > 0)
    findings.add('tampering', 'completeness', `${overstated} offsets wrongly noted as expired`, { log_id, partition })
  for (const { run_id, run_seq, offset } of conflicting) {
    if (decided.has(`${run_id}:${run_seq}`)) continue
    const place = { ...at(offset, offset), run_id, first_run_seq: run_seq, last_run_seq: run_seq }
    findings.add(
      'tampering',
      'conflict-undecided',
      "two records have one number, and no seal says which is the run's own",
      place,
    )
  }
}
