/** The report of integrity for people: the verdict, what it rests on, the findings with their places, and what was not checked. */
import type { Finding, Integrity, Tier } from '@agent-audit/analytics'
import { counted, figure, type Paint, printable, shortId } from './text.ts'

const SHOWN = 50
const STYLES = { verified: 'green', tampering: 'red', unchecked: 'yellow', incomplete: 'yellow' } as const
/** Without a trust file. */
const UNTRUSTED = 'NOT SIGNED BY A KNOWN KEY, rows as sealed'
const NAMES = {
  verified: 'VERIFIED',
  tampering: 'TAMPERING',
  unchecked: 'COULD NOT CHECK',
  incomplete: 'INCOMPLETE',
} as const

const TIERS: Readonly<Record<Tier, string>> = {
  none: 'no checkpoint: shows rows that an administrator of the database has changed, not rows removed together with their seals',
  database: 'checkpoints in the database only: an administrator of the database could go back to an older one',
  outside: 'checkpoints kept outside: shows what an administrator of the database does, up to the newest checkpoint',
  witness: 'checkpoints that a witness has signed: shows what the operator of the notary does as well',
}

export function integrityReport(report: Integrity, trustSignature: string, paint: Paint): string {
  const { verdict, events, skipped, seals, findings, counts } = report
  const total = counts.tampering + counts.unchecked + counts.incomplete
  const shown = findings.slice(0, SHOWN).map((finding) => `${lineOf(finding, paint)}\n`)
  const more = total > shown.length ? `… and ${figure(total - shown.length)} more; --json has up to 1,000\n` : ''
  const anchored =
    seals.anchored_at_ms === null ? '' : `, the newest of ${new Date(seals.anchored_at_ms).toISOString()}`
  const lines = [
    `${paint(STYLES[verdict], verdict === 'verified' && trustSignature === 'missing' ? UNTRUSTED : NAMES[verdict])}  ${counted(events, 'event')} and ${counted(skipped, 'skipped row')}: ${figure(report.sealed_events)} events sealed by their producers, ${figure(report.sealed_rows)} rows by consumers\n`,
    `\n${counted(seals.counted, 'seal')} in a log of ${figure(seals.leaves)}, ${figure(seals.anchored)} of them in ${counted(seals.checkpoints, 'checkpoint')}${anchored}\n`,
    `tier ${report.tier}: ${TIERS[report.tier]}\n`,
    report.from === null
      ? ''
      : `taken over from the run of ${report.from.verified_at}: ${counted(report.from.events, 'event')}, ${figure(report.from.leaves)} leaves\n`,
    trustSignature === 'checked' ? '' : `trust file: ${TRUST[trustSignature] ?? trustSignature}\n`,
    shown.length === 0 ? '' : `\n${shown.join('')}${more}`,
    `\nnot checked:\n${report.not_checked.map((text) => `  ${printable(text)}\n`).join('')}`,
  ]
  return lines.join('')
}

/** A round of a service that has found nothing. */
export function verifiedLine({ events, from, seals, tier }: Integrity): string {
  const read = from === null ? counted(events, 'event') : `${figure(events)} more events`
  return `${new Date().toISOString()} VERIFIED  ${read}, a log of ${counted(seals.leaves, 'seal')}, tier ${tier}\n`
}

const TRUST: Readonly<Record<string, string>> = {
  missing: 'none: keys are not checked',
  none: 'not signed by a root key',
  unchecked: 'signed, and --root did not say by which key',
}

function lineOf(finding: Finding, paint: Paint): string {
  const { severity, code, message, sessions } = finding
  const place = placeOf(finding)
  const where = place === '' ? '' : `${place}: `
  const named = sessions === undefined ? '' : ` (sessions ${sessions.map((id) => printable(shortId(id))).join(', ')})`
  return `${paint(STYLES[severity], severity)} ${code}: ${where}${printable(message)}${named}`
}

function placeOf(finding: Finding): string {
  const { log_id, partition, first_offset, last_offset, run_id, first_run_seq, last_run_seq, leaf } = finding
  return [
    ...(partition === undefined ? [] : [`log ${log_id} partition ${partition}`]),
    ...(first_offset === undefined ? [] : [`offsets ${first_offset}..${last_offset}`]),
    ...(run_id === undefined ? [] : [`run ${run_id}`]),
    ...(first_run_seq === undefined ? [] : [`numbers ${first_run_seq}..${last_run_seq}`]),
    ...(leaf === undefined ? [] : [`leaf ${leaf}`]),
  ].join(', ')
}
