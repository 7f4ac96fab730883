/** The identity of a finding, and what it must be to be stored. */
import { createHash } from 'node:crypto'
import { type Detector, type Finding, SEVERITIES } from '../detector.ts'

/** Bits that RFC 9562 sets for a UUID of one's own making, version 8. */
const [VERSION, VARIANT] = [0x80, 0x80]
const MOST_EVIDENCE = 100
const MOST_SIGNALS = 50
/** A row is some parameters of a query, of at most 128 KiB each. */
const MOST_CHARACTERS = 1000
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The same for the same cause, whenever and wherever a detector finds it. */
export function findingId(detector: string, cause: string): string {
  const bytes = createHash('sha256').update(`${detector}\0${cause}`).digest().subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | VERSION
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | VARIANT
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** A finding with its identity, as it is stored. */
export interface NewFinding extends Finding {
  readonly finding_id: string
  readonly detector: string
  readonly version: number
  readonly thresholds: Readonly<Record<string, number>>
}

/** @throws Error that says what is wrong with a finding of a detector, without its values. */
export function identified(
  { name, version }: Pick<Detector, 'name' | 'version'>,
  finding: Finding,
  thresholds: Readonly<Record<string, number>>,
): NewFinding {
  const fault = faultOf(finding)
  if (fault !== undefined) throw new Error(`a finding that cannot be stored: ${fault}`)
  return {
    ...finding,
    cause: finding.cause.toWellFormed(),
    agent_id: finding.agent_id.toWellFormed(),
    session_id: finding.session_id?.toWellFormed() ?? null,
    summary: shortened(finding.summary),
    signals: finding.signals.slice(0, MOST_SIGNALS).map((signal) => ({
      ...signal,
      name: shortened(signal.name),
      ...(typeof signal.value === 'string' ? { value: shortened(signal.value) } : {}),
      ...(typeof signal.expected === 'string' ? { expected: shortened(signal.expected) } : {}),
    })),
    evidence: finding.evidence.slice(0, MOST_EVIDENCE),
    finding_id: findingId(name, finding.cause),
    detector: name,
    version,
    thresholds,
  }
}

function faultOf(finding: Partial<Finding>): string | undefined {
  const { cause, severity, summary, score, agent_id, session_id, signals, evidence } = finding
  if (typeof cause !== 'string' || cause === '' || cause.length > MOST_CHARACTERS) {
    return `cause: expected a text of 1 to ${MOST_CHARACTERS} characters`
  }
  if (severity === undefined || !SEVERITIES.includes(severity)) return `severity: expected ${SEVERITIES.join(', ')}`
  if (typeof summary !== 'string' || summary === '') return 'summary: expected a text'
  if (typeof score !== 'number' || !(score >= 0 && score <= 1)) return 'score: expected a number from 0 to 1'
  if (typeof agent_id !== 'string') return 'agent_id: expected a text'
  if (session_id !== null && typeof session_id !== 'string') return 'session_id: expected a text or null'
  if (!Array.isArray(signals) || !signals.every(isSignal)) return 'signals: expected a list of signals'
  if (!Array.isArray(evidence) || !evidence.every((id) => UUID.test(String(id)))) {
    return 'evidence: expected a list of event ids'
  }
  return undefined
}

function isSignal(signal: unknown): boolean {
  const { name, value, event_id } = (signal ?? {}) as { name?: unknown; value?: unknown; event_id?: unknown }
  const isValue = ['string', 'number', 'boolean'].includes(typeof value)
  return typeof name === 'string' && isValue && (event_id === undefined || typeof event_id === 'string')
}

function shortened(text: string): string {
  const whole = text.toWellFormed()
  return whole.length > MOST_CHARACTERS ? `${whole.slice(0, MOST_CHARACTERS - 1).toWellFormed()}…` : whole
}
