/** Simple detectors, and rows for them. */
import type { Analytics } from '@agent-audit/analytics'
import { Engine, type EngineOptions, type Finding, type QueryDetector, type SessionDetector } from '@agent-audit/detect'
import { type SeedRow, type Server, seedEvents } from '../analytics/seed.ts'

export function finding(more: Partial<Finding> & Pick<Finding, 'cause'>): Finding {
  return {
    severity: 'medium',
    summary: 'found',
    score: 0.5,
    agent_id: 'support',
    session_id: null,
    signals: [],
    evidence: [],
    ...more,
  }
}

const ABOUT = { version: 1, finds: 'for tests', method: 'counts', source: 'tests' }

/** Finds each error event of a session. */
export const ERRORS: SessionDetector<{ least: number }> = {
  ...ABOUT,
  name: 'test.errors',
  unit: 'session',
  thresholds: { least: 1 },
  candidates: "countIf(event_type = 'error') > 0",
  find({ session_id, agent_id, events }, { least }) {
    const errors = events.filter((event) => event.event_type === 'error')
    if (errors.length < least) return []
    return errors.map(({ event_id, error }) =>
      finding({
        cause: `${session_id}/${event_id}`,
        agent_id,
        session_id,
        summary: `an error: ${error ?? ''}`,
        signals: [{ name: 'errors', value: errors.length, expected: least, event_id }],
        evidence: [event_id],
      }),
    )
  },
}

/** Finds sessions of many events, and says how many it was shown and which came first. */
export const SIZE: SessionDetector = {
  ...ABOUT,
  name: 'test.size',
  unit: 'session',
  thresholds: {},
  candidates: 'count() >= 3',
  find: ({ session_id, agent_id, events }) => [
    finding({ cause: `${session_id}/${events.length}`, agent_id, session_id, summary: `from ${events[0]?.event_id}` }),
  ],
}

interface Hour {
  readonly agent_id: string
  readonly hour: string
  readonly calls: number
}

/** Finds hours of an agent with many events. */
export const HOURS: QueryDetector<Hour, { most: number }> = {
  ...ABOUT,
  name: 'test.hours',
  unit: 'query',
  thresholds: { most: 2 },
  sql: `SELECT agent_id, toString(toStartOfHour(timestamp)) AS hour, toUInt32(count()) AS calls
    FROM {database:Identifier}.audit_events
    WHERE agent_id IN {agents:Array(String)} AND timestamp >= {since:DateTime64(6)} AND timestamp < {until:DateTime64(6)}
    GROUP BY agent_id, hour`,
  schema: { parse: (row) => row as Hour },
  find: (rows, { most }) =>
    rows.flatMap(({ agent_id, hour, calls }) =>
      calls <= most ? [] : [finding({ cause: `${agent_id}/${hour}`, agent_id, summary: `${calls} events` })],
    ),
}

/** Judges until the log has nothing new. */
export async function judgeAll(analytics: Analytics, options: EngineOptions): Promise<number> {
  return judgeOn(new Engine(analytics, options))
}

export async function judgeOn(engine: Engine): Promise<number> {
  let found = 0
  for (let more = true; more;) {
    const judged = await engine.judgeSessions()
    found += judged.findings
    more = judged.moved
  }
  return found + (await engine.judgeQueries()).findings
}

export async function causes(analytics: Analytics): Promise<string[]> {
  const rows = await analytics.rows<{ found: string }>(
    `SELECT concat(detector, ' ', cause) AS found FROM {database:Identifier}.audit_findings ORDER BY found`,
  )
  return rows.map(({ found }) => found)
}

/** Events at offsets, each with an id that its offset and partition name. */
export function rowsAt(offsets: readonly number[], more: SeedRow = {}): SeedRow[] {
  return offsets.map((offset) => ({
    event_id: idAt(offset, Number(more['log_partition'] ?? 0)),
    log_offset: offset,
    run_seq: offset,
    timestamp: `2026-11-24 10:00:${String(offset % 60).padStart(2, '0')}.000000`,
    ...more,
  }))
}

export function idAt(offset: number, partition = 0): string {
  return `01900000-0000-7000-800${partition}-${offset.toString(16).padStart(12, '0')}`
}

export async function seed(server: Server, offsets: readonly number[], more: SeedRow = {}): Promise<void> {
  await seedEvents(server, rowsAt(offsets, more))
}
