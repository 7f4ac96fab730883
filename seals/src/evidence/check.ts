/** Checks an evidence bundle: offline, with nothing but the file and the keys that the caller trusts. */
import { findSchema, readFrame, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { type OpenedTrust, openTrust } from '../keys/trust.ts'
import type { VerifierKey } from '../notes/verifier-key.ts'
import { type Bundle, isBundle, parseBundle } from './bundle.ts'
import { type Anchor, checkLog, checkOutside } from './check-log.ts'
import { type ApprovalOfSession, checkApprovals } from './check-approvals.ts'
import { checkSeals } from './check-seals.ts'
import { checkCompleteness, type RunOfSession } from './completeness.ts'
import { type EvidenceRecord, isBehind, readRecord } from './records.ts'
import { renderReport } from './report.ts'
import { type EvidenceFinding, type EvidenceVerdict, Findings } from './verdict.ts'

/** What comes from outside of the bundle. */
export interface EvidenceTrust {
  /** The text of a trust file. */
  readonly trust?: string | undefined
  /** The key that must have signed the trust file: the given one, else that of the bundle. */
  readonly root?: VerifierKey | undefined
  /** The note of a checkpoint. */
  readonly checkpoint?: string | undefined
}

export interface EvidenceReport {
  readonly verdict: EvidenceVerdict
  /** `given`: the given trust file. `root`: the bundle's, signed by the given root key. `bundle`: the bundle's own. */
  readonly keys: 'given' | 'root' | 'bundle'
  readonly session_id: string | null
  readonly events: number
  readonly seals: number
  readonly runs: readonly RunOfSession[]
  /** Signed decisions and overrides in the records. */
  readonly approvals: readonly ApprovalOfSession[]
  /** The newest one of the bundle that counts. */
  readonly checkpoint: {
    readonly origin: string
    readonly size: number
    readonly time: string
    readonly witnesses: readonly string[]
  } | null
  /** The worst first. */
  readonly findings: readonly EvidenceFinding[]
}

/** Never throws, whatever the bytes are. A trust file, key or checkpoint that cannot be read is a finding as well. */
export function checkEvidence(bytes: Buffer, given: EvidenceTrust = {}): EvidenceReport {
  const findings = new Findings()
  const keys = given.trust !== undefined ? 'given' : given.root === undefined ? 'bundle' : 'root'
  const bundle = readBundle(bytes, findings)
  const records = bundle === undefined ? undefined : readRecords(bundle, findings)
  const trust = bundle === undefined ? undefined : readTrust(bundle, given, findings)
  if (bundle === undefined || records === undefined) return reportOf({ findings, keys, bundle })
  if (renderReport(bundle.sessionId, records) !== bundle.report) {
    findings.add('tampered', 'report', 'report.html', 'it is not the report of the records')
  }
  const runs = checkCompleteness(records, findings)
  if (trust === undefined) return reportOf({ findings, keys, bundle, runs })
  if (keys === 'bundle') {
    const message =
      'the keys are those of the bundle itself, which anybody can make: give the trust file or its root key'
    findings.add('unchecked', 'keys', 'trust', message)
  }
  const anchors = checkLog(bundle.log, trust, findings)
  const times = checkSeals(bundle.seals, { records, anchors, trust, findings })
  const approvals = checkApprovals(records, { times, trust, findings })
  if (given.checkpoint !== undefined) checkOutside(given.checkpoint, anchors, trust, findings)
  return reportOf({ findings, keys, bundle, runs, approvals, anchor: anchors.at(-1) })
}

function readBundle(bytes: Buffer, findings: Findings): Bundle | undefined {
  if (isBundle(bytes)) return findings.try('bundle', 'file', () => parseBundle(bytes))
  findings.add('unchecked', 'bundle', 'file', 'it is no evidence bundle of version 1')
  return undefined
}

/** The bundle's own trust file must be readable even where another one counts. */
function readTrust(bundle: Bundle, { trust, root }: EvidenceTrust, findings: Findings): OpenedTrust | undefined {
  const own = findings.try('trust', 'trust', () => openTrust(bundle.trust, trust === undefined ? root : undefined))
  if (trust === undefined) return own
  const outside = new Findings()
  const opened = outside.try('trust', 'the given trust file', () => openTrust(trust, root))
  for (const { kind, where, message } of outside.all) findings.add('unchecked', kind, where, message)
  return opened
}

/** @returns undefined, if they cannot be read as the session's records */
function readRecords(bundle: Bundle, findings: Findings): EvidenceRecord[] | undefined {
  if (!knowsSchemas(bundle, findings)) return undefined
  const records: EvidenceRecord[] = []
  for (const [index, message] of bundle.records.entries()) {
    const record = findings.try('record', `record ${index}`, () => readRecord(message, index))
    if (record === undefined) return undefined
    const before = records.at(-1)
    if (record.fields['session_id'] !== bundle.sessionId || (before !== undefined && !isBehind(before, record))) {
      findings.add('tampered', 'record', `record ${index}`, 'it is of another session, or not in order')
      return undefined
    }
    records.push(record)
  }
  if (records.length > 0) return records
  findings.add('tampered', 'record', 'records', 'there is none')
  return undefined
}

/** The bundle has the texts of exactly the schemas that its records name, and each is one that was published. */
function knowsSchemas({ schemas, records }: Bundle, findings: Findings): boolean {
  const named = new Set(
    records.map(readFrame).map((frame) => (frame.kind === 'single-object' ? frame.fingerprint : -1n)),
  )
  const versions = schemas.map((text) => SCHEMA_VERSIONS.find((version) => version.text === text))
  for (const [index, version] of versions.entries()) {
    if (version !== undefined) continue
    findings.add('unchecked', 'schema', `schema ${index}`, 'it is not one that this version of the program knows')
    return false
  }
  const expected = [...named].map(findSchema).toSorted((one, other) => {
    return (one?.fingerprint ?? 0n) < (other?.fingerprint ?? 0n) ? -1 : 1
  })
  if (expected.length === versions.length && expected.every((version, index) => version === versions[index]))
    return true
  findings.add('tampered', 'schema', 'schemas', 'they are not those that the records name')
  return false
}

interface Checked {
  readonly findings: Findings
  readonly keys: EvidenceReport['keys']
  readonly bundle: Bundle | undefined
  readonly runs?: readonly RunOfSession[]
  readonly approvals?: readonly ApprovalOfSession[]
  readonly anchor?: Anchor | undefined
}

const WORST = ['tampered', 'unchecked', 'incomplete']

function reportOf({ findings, keys, bundle, runs = [], approvals = [], anchor }: Checked): EvidenceReport {
  return {
    verdict: findings.verdict,
    keys,
    session_id: bundle?.sessionId ?? null,
    events: bundle?.records.length ?? 0,
    seals: bundle?.seals.length ?? 0,
    runs,
    approvals,
    checkpoint: anchor === undefined ? null : { ...described(anchor) },
    findings: findings.all.toSorted((one, other) => WORST.indexOf(one.verdict) - WORST.indexOf(other.verdict)),
  }
}

function described({ origin, size, time, witnesses }: Anchor): NonNullable<EvidenceReport['checkpoint']> {
  return { origin, size, time: new Date(time).toISOString(), witnesses: witnesses.map(({ key }) => key.name) }
}
