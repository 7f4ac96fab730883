/** What a check of an evidence bundle says, for people. */
import type { DecidedConflict } from '@agent-audit/analytics'
import type { EvidenceReport } from '@agent-audit/seals/evidence'
import { counted, dayAndTime, printable, shortId } from './text.ts'

const SHOWN_FINDINGS = 20
const VERDICTS: Readonly<Record<EvidenceReport['verdict'], string>> = {
  verified: 'VERIFIED: the records are those that were sealed, and the whole session',
  tampered: 'TAMPERED: the bundle is not what was sealed',
  incomplete: 'INCOMPLETE: what is there is as it was sealed, and something of the session is not there',
  unchecked: 'COULD NOT CHECK: something is missing that the check needs',
}
const KEYS: Readonly<Record<EvidenceReport['keys'], string>> = {
  given: 'the given trust file',
  root: "the bundle's trust file, signed by the given root key",
  bundle: "the bundle's own: they say nothing about who made it",
}

/** @param decided - Numbers that several different records claimed, of an export. */
export function renderEvidence(report: EvidenceReport, decided: readonly DecidedConflict[] = []): string {
  const { verdict, keys, session_id: session, checkpoint, findings, runs } = report
  const shown = findings.slice(0, SHOWN_FINDINGS)
  const more = findings.length - shown.length
  const lines = [
    VERDICTS[verdict],
    ...shown.map((finding) => `  ${finding.verdict}, ${finding.where}: ${printable(finding.message)}`),
    ...(more > 0 ? [`  and ${counted(more, 'finding')} more: --json has them all`] : []),
    ...(session === null ? [] : [`session  ${shortId(session)}`]),
    `content  ${counted(report.events, 'event')}, ${counted(report.seals, 'seal')}`,
    ...runs.map((run) => {
      const { run_id: id, producer_id: producer, first_session_seq: first, last_session_seq: last } = run
      const end = run.ends ? ', ends the session' : ''
      return `run      ${id} of ${shortId(producer)}: session_seq ${first} to ${last}${end}`
    }),
    ...decided.map((each) => {
      const others = each.others.join(', ')
      return `decided  ${each.run_id}, run_seq ${each.run_seq}: the producer has sealed ${each.own}; not its own: ${others}`
    }),
    ...report.approvals.map((each) => {
      const says = `${each.decision} by ${shortId(each.approver_id)}, key ${shortId(each.key)}`
      return `approval ${each.run_id}, run_seq ${each.run_seq}: ${says}${each.counts ? '' : ', does not count'}`
    }),
    checkpoint === null ? 'log      no checkpoint that counts' : `log      ${described(checkpoint)}`,
    `keys     ${KEYS[keys]}`,
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function described({ origin, size, time, witnesses }: NonNullable<EvidenceReport['checkpoint']>): string {
  const by = witnesses.length === 0 ? 'no witness' : `witnesses ${witnesses.map(shortId).join(', ')}`
  return `${shortId(origin)}, ${counted(size, 'seal')}, signed ${dayAndTime(time)} UTC, ${by}`
}
