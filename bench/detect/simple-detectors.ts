/** Two simple detectors beside those of the project, for the benchmark: one of sessions, one of hours of an agent. */
import type { Detector, QueryDetector, SessionDetector } from '@agent-audit/detect'

const ABOUT = { version: 1, method: 'counts', source: 'the benchmark' }

const repeated: SessionDetector<{ calls: number }> = {
  ...ABOUT,
  name: 'bench.repeated_call',
  unit: 'session',
  finds: 'the same call again and again',
  thresholds: { calls: 5 },
  candidates: `countIf(event_type = 'tool_call') >= 5 * uniqExactIf(arguments_sha256, event_type = 'tool_call')`,
  find({ session_id, agent_id, events }, { calls }) {
    const same = Map.groupBy(
      events.filter((event) => event.event_type === 'tool_call'),
      (event) => event.arguments_sha256,
    )
    return [...same].flatMap(([digest, of]) =>
      of.length < calls
        ? []
        : [
            {
              cause: `${session_id}/${digest}`,
              severity: 'medium' as const,
              summary: `${of.length} times the same call`,
              score: 0.8,
              agent_id,
              session_id,
              signals: [{ name: 'calls', value: of.length, expected: calls }],
              evidence: of.map(({ event_id }) => event_id),
            },
          ],
    )
  },
}

const errors: QueryDetector<{ agent_id: string; hour: string; share: number }, { share: number }> = {
  ...ABOUT,
  name: 'bench.errors',
  unit: 'query',
  finds: 'an hour of an agent with many errors',
  thresholds: { share: 0.05 },
  sql: `SELECT agent_id, toString(toStartOfHour(timestamp)) AS hour, countIf(error IS NOT NULL) / count() AS share
    FROM {database:Identifier}.audit_events
    WHERE agent_id IN {agents:Array(String)} AND timestamp >= {since:DateTime64(6)} AND timestamp < {until:DateTime64(6)}
    GROUP BY agent_id, hour HAVING count() > 100`,
  schema: { parse: (row) => row as { agent_id: string; hour: string; share: number } },
  find: (rows, { share: most }) =>
    rows
      .filter(({ share }) => share > most)
      .map(({ agent_id, hour, share }) => ({
        cause: `${agent_id}/${hour}`,
        severity: 'low' as const,
        summary: `${Math.round(share * 100)} % errors`,
        score: 0.5,
        agent_id,
        session_id: null,
        signals: [{ name: 'share', value: share, expected: most }],
        evidence: [],
      })),
}

export const detectors: readonly Detector[] = [repeated, errors]
