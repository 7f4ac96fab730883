/** The signed decisions and overrides in the records of a bundle: whether each counts, and is of the call that its record names. */
import { differencesOf, type SaidApproval } from '../approvals/signed-approval.ts'
import { readApproval, verifyApproval } from '../approvals/verify-approval.ts'
import type { Trust } from '../keys/trust.ts'
import { quoted } from '../notes/lines.ts'
import { idText } from '../notes/verifier-key.ts'
import { labelsOf } from './field-labels.ts'
import type { EvidenceRecord } from './records.ts'
import { type Findings, placeOf } from './verdict.ts'

/** A signed decision, or override, as a record has it. */
export interface ApprovalOfSession {
  readonly run_id: string
  readonly run_seq: number
  readonly event_type: string
  readonly decision: string
  readonly approver_id: string
  /** Name of the key. */
  readonly key: string
  /** Whether the signature is of this record, by a key that counts at the first checkpoint that holds the record's seal. */
  readonly counts: boolean
}

/** Redaction has removed a name that the signature repeats. */
const REDACTED = '[redacted:signature]'

/**
 * @param times - Of the records whose seal a checkpoint holds: its signed time, milliseconds since 1970. Of others nothing is
 * judged.
 */
export function checkApprovals(
  records: readonly EvidenceRecord[],
  { times, trust, findings }: { times: ReadonlyMap<EvidenceRecord, number>; trust: Trust; findings: Findings },
): ApprovalOfSession[] {
  // Where arguments are encrypted, the records have another digest than the one that is signed: one with a key.
  const keyed = records.some(({ fields }) => labelsOf(fields).has('tool_input'))
  return records.flatMap((record) => {
    const { fields, runId, runSeq } = record
    const approval = membersOf(fields['approval'])
    const note = approval?.['signature']
    const time = times.get(record)
    if (approval === undefined || typeof note !== 'string' || note === REDACTED || time === undefined) return []
    // The signature is encrypted: it repeats the digest of the arguments.
    if (labelsOf(fields).has('approval')) return []
    const where = placeOf(runId, runSeq, runSeq)
    const read = findings.try('approval', where, () => readApproval(note))
    if (read === undefined) return []
    const { decision, approverId } = read.approval
    const said = saidBy(fields, approval, keyed)
    const counts = isVerified({ note, read, said }, { time, trust, where, findings })
    const place = { run_id: runId, run_seq: runSeq, event_type: String(fields['event_type']) }
    return [{ ...place, decision, approver_id: approverId, key: read.keyName, counts }]
  })
}

interface Signed {
  readonly note: string
  readonly read: ReturnType<typeof readApproval>
  readonly said: Partial<SaidApproval>
}

function isVerified(
  { note, read: { approval, keyName, keyId }, said }: Signed,
  { time, trust, where, findings }: { time: number; trust: Trust; where: string; findings: Findings },
): boolean {
  const differing = differencesOf(approval, said)
  if (differing.length > 0) {
    findings.add('tampered', 'approval', where, `its signature is of another decision: ${differing.join(', ')} differ`)
    return false
  }
  if (!trust.keys.some(({ key }) => key.name === keyName && key.id === keyId)) {
    const message = `the trust file has no approver key ${quoted(keyName)} (key id ${idText(keyId)})`
    findings.add('unchecked', 'key', where, message)
    return false
  }
  return findings.try('approval', where, () => verifyApproval(note, trust, time)) !== undefined
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** What the record says, as it must be signed. An override has no status and an id of its own. */
function saidBy(
  fields: EvidenceRecord['fields'],
  approval: Readonly<Record<string, unknown>>,
  keyed: boolean,
): Partial<SaidApproval> {
  const status = fields['approval_status']
  const overridden = typeof status !== 'string'
  const sha256 = fields['arguments_sha256']
  const shown = approval['shown_sha256']
  return {
    ...(overridden ? {} : { id: text(fields['approval_id']) }),
    sessionId: text(fields['session_id']),
    toolName: text(fields['tool_name']),
    ...(keyed ? {} : { argumentsSha256: Buffer.isBuffer(sha256) ? sha256.toString('hex') : '' }),
    decision: (overridden ? 'overridden' : status) as SaidApproval['decision'],
    approverKind: text(approval['approver_kind']) as SaidApproval['approverKind'],
    approverId: text(fields['approver_id']),
    identitySource: text(approval['identity_source']),
    shownSha256: typeof shown === 'string' ? shown : undefined,
  }
}

function membersOf(json: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof json !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
