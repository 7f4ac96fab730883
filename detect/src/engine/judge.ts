/** Runs detectors on what was read. One that throws stops no other, and is a finding itself. */
import { createHash } from 'node:crypto'
import type { Analytics } from '@agent-audit/analytics'
import { TrailError } from '@agent-audit/schemas'
import type { Detector, Finding, QueryDetector, QueryWindow, SessionDetector, Thresholds } from '../detector.ts'
import { identified, type NewFinding } from '../findings/finding-id.ts'
import type { ReadSession } from './session-pages.ts'

/** The detector of failures of detectors. */
export const FAILED = 'detector.failed'
const FAILED_ABOUT = { name: FAILED, version: 1 }
/** The agent of findings about the trail's own parts. */
const OWN_AGENT = 'agent-audit'
/** Errors of one detector that become findings, in one process. */
const MOST_ERRORS = 20
/** A query that answers with more aggregates nothing. */
const MOST_ROWS = 500_000
/** Errors that say nothing about the detector. A right that its own query lacks does. */
const NOT_OF_DETECTORS = new Set(['STORE_UNAVAILABLE', 'TLS_REFUSED'])

/** The findings of a stretch of work, and the detectors that failed in it. */
export class Judge {
  readonly failed: Set<string> = new Set<string>()
  #found: NewFinding[] = []
  readonly #thresholds: (detector: Detector) => Thresholds
  readonly #seen: Set<string>

  /** @param seen - Errors that are findings already; kept by the caller. */
  constructor(thresholds: (detector: Detector) => Thresholds, seen: Set<string>) {
    this.#thresholds = thresholds
    this.#seen = seen
  }

  /** Findings that are not taken yet. */
  get held(): number {
    return this.#found.length
  }

  /** Takes the findings so far. */
  take(): NewFinding[] {
    const found = this.#found
    this.#found = []
    return found
  }

  /** Shows a session to each detector that its mask names. */
  session(detectors: readonly SessionDetector[], { session, mask }: ReadSession): void {
    for (const [index, detector] of detectors.entries()) {
      if (mask[index] !== '1') continue
      this.#attempt(detector, () => detector.find(session, this.#thresholds(detector)))
    }
  }

  /**
   * Runs the SQL that these detectors have in common, then each of them on its rows.
   * @throws TrailError if the store is away.
   */
  async query(analytics: Analytics, detectors: readonly QueryDetector[], window: QueryWindow): Promise<void> {
    const working = detectors.filter(({ name }) => !this.failed.has(name))
    const [first] = working
    if (first === undefined) return
    const rows: never[] = []
    try {
      const { agents, since, until } = window
      const options = { schema: first.schema, params: { agents, since, until } }
      for await (const row of analytics.query(first.sql, options)) {
        if (rows.push(row) > MOST_ROWS) throw new Error(`the query answers with more than ${MOST_ROWS} rows`)
      }
    } catch (error) {
      if (isOfStore(error)) throw error
      for (const detector of working) this.fail(detector, error)
      return
    }
    for (const detector of working) {
      this.#attempt(detector, () => detector.find(rows, this.#thresholds(detector), window))
    }
  }

  /** Notes that a detector failed: a finding for each detector and error. */
  fail(detector: Detector, error: unknown): void {
    this.failed.add(detector.name)
    const { name, message } = describe(error)
    // Digits and ids differ from session to session, and the error is the same.
    const kind = `${name}: ${message}`.replaceAll(/[0-9a-f-]{8,}|\d+/gi, '#')
    const digest = createHash('sha256').update(kind).digest('hex').slice(0, 16)
    const cause = `${detector.name}@${detector.version}/${digest}`
    const before = [...this.#seen].filter((each) => each.startsWith(`${detector.name}@`)).length
    if (this.#seen.has(cause) || before >= MOST_ERRORS) return
    this.#seen.add(cause)
    const finding: Finding = {
      cause,
      severity: 'high',
      summary: `detector ${detector.name} failed, and judges from where it stood once it is repaired: ${name}: ${message}`,
      score: 1,
      agent_id: OWN_AGENT,
      session_id: null,
      signals: [
        { name: 'detector', value: detector.name },
        { name: 'version', value: detector.version },
        { name: 'error', value: `${name}: ${message}` },
      ],
      evidence: [],
    }
    this.#found.push(identified(FAILED_ABOUT, finding, {}))
  }

  #attempt(detector: Detector, find: () => readonly Finding[]): void {
    try {
      const thresholds = this.#thresholds(detector)
      // All or none: a list with one wrong finding shows that the detector is wrong.
      const found = find().map((finding) => identified(detector, finding, thresholds))
      for (const finding of found) this.#found.push(finding)
    } catch (error) {
      this.fail(detector, error)
    }
  }
}

/** Whether the error is the store's, and not the detector's. */
export function isOfStore(error: unknown): boolean {
  return error instanceof TrailError && NOT_OF_DETECTORS.has(error.code)
}

const MOST_CHARACTERS = 300

function describe(error: unknown): { name: string; message: string } {
  if (!(error instanceof Error)) return { name: 'thrown', message: typeof error }
  return { name: error.name, message: error.message.slice(0, MOST_CHARACTERS) }
}
