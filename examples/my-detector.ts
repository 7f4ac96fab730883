/** A detector of your own: `agent-audit detect run --module ./my-detector.ts`. Tested by test/detect/command.test.ts. */
import type { SessionDetector } from '@agent-audit/detect'

export const detectors: readonly SessionDetector<{ first_hour: number; last_hour: number }>[] = [
  {
    name: 'acme.refund_at_night',
    version: 1,
    unit: 'session',
    finds: 'a refund in the night, when no one at Acme works',
    method: 'the hour (UTC) of each call of the tool refund is compared with the hours of the night',
    source: 'working hours of Acme',
    thresholds: { first_hour: 0, last_hour: 5 },
    // Only sessions for which this is true are read.
    candidates: "countIf(event_type = 'tool_call' AND tool_name = 'refund') > 0",
    find: ({ session_id, agent_id, events }, { first_hour: first, last_hour: last }) =>
      events
        .filter((event) => event.event_type === 'tool_call' && event.tool_name === 'refund')
        .map((event) => ({ event, hour: new Date(event.timestamp).getUTCHours() }))
        .filter(({ hour }) => hour >= first && hour <= last)
        .map(({ event, hour }) => ({
          cause: `${session_id}/${event.event_id}`, // The same call is found once.
          severity: 'medium',
          summary: `refund at ${event.timestamp.slice(11, 16)} UTC`,
          score: 0.6,
          agent_id,
          session_id,
          signals: [{ name: 'hour', value: hour, expected: `${first} to ${last}`, event_id: event.event_id }],
          evidence: [event.event_id],
        })),
  },
]
