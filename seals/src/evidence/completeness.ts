/** Whether the records of a bundle are the whole session: session_seq counts its events in each run from 0. */
import type { EvidenceRecord } from './records.ts'
import type { Findings } from './verdict.ts'

export interface RunOfSession {
  readonly run_id: string
  readonly producer_id: string
  readonly events: number
  readonly first_session_seq: number
  readonly last_session_seq: number
  /** Whether its last record ends the session. */
  readonly ends: boolean
  /** The run whose session it goes on with. */
  readonly resumes: string | null
}

const BEGINS = new Set<unknown>(['session_start', 'session_resumed'])
const ENDS = new Set<unknown>(['session_end', 'session_timeout'])

/**
 * Of each chain of runs that hand the session over, the last one must end it. A run that only decided an approval neither begins
 * nor resumes the session, and need not. Whether a run that does not end the session recorded more of it cannot be shown, nor
 * whether a run that no other names was there at all.
 */
export function checkCompleteness(records: readonly EvidenceRecord[], findings: Findings): RunOfSession[] {
  const byRun = Map.groupBy(records, ({ runId }) => runId)
  const runs = [...byRun].map(([runId, own]) => checkRun(runId, own, findings))
  for (const { run_id: runId, resumes } of runs) {
    if (resumes === null || byRun.has(resumes)) continue
    findings.add('incomplete', 'run', `run ${runId}`, `it resumes the session of run ${resumes}, which is not there`)
  }
  const open = runs.filter(({ run_id: runId, ends }) => {
    if (ends || !byRun.get(runId)?.some(({ fields }) => BEGINS.has(fields['event_type']))) return false
    return !runs.some((other) => other.run_id !== runId && other.resumes === runId)
  })
  for (const { run_id: runId } of open) findings.add('incomplete', 'end', `run ${runId}`, 'it does not end the session')
  if (open.length === 0 && !runs.some(({ ends }) => ends)) {
    findings.add('incomplete', 'end', 'records', 'no run ends the session')
  }
  return runs
}

function checkRun(runId: string, records: readonly EvidenceRecord[], findings: Findings): RunOfSession {
  const seqs = records.map(({ fields }) => Number(fields['session_seq']))
  let next = 0
  for (const [index, seq] of seqs.entries()) {
    const record = records[index]
    const where = `run ${runId}, run_seq ${record?.runSeq ?? 0}`
    if (seq < next) findings.add('tampered', 'conflict', where, `session_seq ${seq} comes behind ${next - 1}`)
    if (seq > next) findings.add('incomplete', 'gap', where, `session_seq ${next} to ${seq - 1} are not there`)
    next = Math.max(next, seq + 1)
  }
  const last = records.at(-1)
  return {
    run_id: runId,
    producer_id: String(last?.fields['producer_id']),
    events: records.length,
    first_session_seq: seqs[0] ?? 0,
    last_session_seq: seqs.at(-1) ?? 0,
    ends: ENDS.has(last?.fields['event_type']),
    resumes: records.map(resumedRun).find((run) => run !== null) ?? null,
  }
}

function resumedRun({ fields }: EvidenceRecord): string | null {
  if (fields['event_type'] !== 'session_resumed') return null
  const [, run = null] = FROM_RUN.exec(String(fields['content'])) ?? []
  return run
}

/** In the JSON text of `content`. */
const FROM_RUN = /"from_run_id":"([0-9a-f]{32})"/
