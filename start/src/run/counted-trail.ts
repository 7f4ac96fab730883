/** An audit trail whose events are counted by type when they are recorded, to compare them with the stored ones. */
import { type AuditSession, type AuditTrailOptions, createAuditTrail } from '@agent-audit/producer'
import type { SessionStart } from '@agent-audit/schemas'

/** A session without the methods whose events would not be counted. */
export type CountedSession = Omit<AuditSession, 'startChild' | 'run'>

export interface CountedTrail {
  readonly runId: string
  readonly startedAt: Date
  /** Sessions that were started. */
  readonly sessions: number
  /** Events recorded and not refused. */
  readonly accepted: number
  /** Of them, those the log has acknowledged. */
  readonly acked: number
  /** Events that were refused: the producer's buffer was full, or its disk failed. */
  readonly refused: number
  /** Recorded events by type, refused ones included. */
  readonly byType: ReadonlyMap<string, number>
  /** The session with the most event types; of several, the shortest. */
  readonly example: string | undefined
  /** Starts a session, once the producer has room for it. */
  startSession(start: SessionStart): Promise<CountedSession>
  /** Closes the trail: waits until the log has acknowledged all events, at most `timeoutMs`. */
  close(timeoutMs: number): Promise<void>
}

const EVENT_TYPES: Readonly<Partial<Record<string, string>>> = {
  userMessage: 'user_message',
  llmCall: 'llm_call',
  decision: 'decision',
  toolCall: 'tool_call',
  toolResult: 'tool_result',
  humanIntervention: 'human_intervention',
  sandboxCrossing: 'sandbox_crossing',
  stateSnapshot: 'state_snapshot',
  error: 'error',
  finalOutput: 'final_output',
  end: 'session_end',
  timeout: 'session_timeout',
} satisfies Partial<Record<keyof AuditSession, string>>

/** Starts the producer. @throws as createAuditTrail. */
export function startCountedTrail(options: AuditTrailOptions): CountedTrail {
  const startedAt = new Date()
  const trail = createAuditTrail(options)
  const byType = new Map<string, number>([['trail_started', 1]])
  const example = new ExampleChoice()
  let sessions = 0

  function count(type: string, times = 1): void {
    byType.set(type, (byType.get(type) ?? 0) + times)
  }

  return {
    runId: trail.runId,
    startedAt,
    byType,
    get sessions() {
      return sessions
    },
    get accepted() {
      const { recorded, refused } = trail.stats()
      return recorded - refused
    },
    get acked() {
      return trail.stats().acked
    },
    get refused() {
      return trail.stats().refused
    },
    get example() {
      return example.session
    },
    async startSession(start) {
      await trail.writable()
      const session = trail.startSession(start)
      sessions++
      const types: string[] = []
      const note = (type: string): void => {
        count(type)
        types.push(type)
        if (type === 'session_end' || type === 'session_timeout') example.offer(session.session_id, types)
      }
      note('session_start')
      return countCalls(session, note)
    },
    async close(timeoutMs) {
      await trail.close({ timeoutMs })
      count('trail_stopped')
      const lost = trail.stats().recorded - sum(byType.values())
      if (lost > 0) count('events_lost', lost)
    },
  }
}

/** The same session; each event is counted when its call returns, so a wrong event, which throws, is not counted. */
function countCalls(session: AuditSession, note: (type: string) => void): CountedSession {
  return new Proxy(session, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(member, target, args)
        note(EVENT_TYPES[String(name)] ?? (args[0] as { event_type: string }).event_type)
        return result
      }
    },
  })
}

/** Chooses the session to show. */
class ExampleChoice {
  session: string | undefined
  #kinds = 0
  #events = 0

  offer(session: string, types: readonly string[]): void {
    const kinds = new Set(types).size
    if (kinds < this.#kinds || (kinds === this.#kinds && types.length >= this.#events)) return
    this.session = session
    this.#kinds = kinds
    this.#events = types.length
  }
}

function sum(values: Iterable<number>): number {
  let total = 0
  for (const value of values) total += value
  return total
}
