/** `injection.read`: the agent was given a text that speaks as only a text for a model does, and did not do what it says. */
import { mayInstruct } from '@agent-audit/analytics'
import type { SessionDetector } from '../../detector.ts'
import { followedCalls, IS_ENCRYPTED } from './followed.ts'
import { passagesOf } from './passages.ts'
import { FOLLOWED_THRESHOLDS } from './weigh.ts'

const THRESHOLDS = {
  /** A text has at least so many of the marks of a text for a model: words that take over count 1, secrecy `secrecy`. */
  score: 0.5,
  takeover: 0.6,
  secrecy: 0.5,
  /** Added for each further mark. */
  further: 0.1,
}

export const injectionRead: SessionDetector<typeof THRESHOLDS> = {
  name: 'injection.read',
  version: 2,
  unit: 'session',
  finds: 'An output of a tool that tries to give the agent orders, which the agent was given and did not follow.',
  method:
    'Forms that orders to a model need: earlier instructions set aside, a turn of the system or the user, words to the model, ' +
    'claims of authority, "before you continue", secrecy from the user. An order alone ("please pay by Friday") is none. ' +
    'Outputs that injection.followed names are left out.',
  source:
    'Forms of published attacks in general; docs/adr/0051. Text alone cannot tell a text that was followed from one that was not.',
  thresholds: THRESHOLDS,
  // A mere order is no finding of its own.
  candidates: `countIf(event_type = 'tool_result' AND (${mayInstruct('tool_output', 'stronger')} OR ${IS_ENCRYPTED})) > 0`,
  find(session, thresholds) {
    const passages = passagesOf(session)
    const followed = new Set(followedCalls(session, FOLLOWED_THRESHOLDS).map(({ passage }) => passage.event.event_id))
    const seen = new Set<string>()
    return passages.flatMap(({ event, strength, reasons, text }) => {
      const base = strength === 'order' ? 0 : thresholds[strength]
      const score = Math.min(1, base + thresholds.further * (reasons.length - 1))
      if (base === 0 || score < thresholds.score || followed.has(event.event_id) || seen.has(event.event_id)) return []
      seen.add(event.event_id)
      return [
        {
          cause: `${session.session_id}/${event.event_id}`,
          severity: 'medium' as const,
          summary: `the output of ${event.tool_name ?? 'a tool'} tries to give the agent orders, which it did not follow: "${text.slice(0, 200)}"`,
          score,
          agent_id: session.agent_id,
          session_id: session.session_id,
          signals: [{ name: 'instruction_in_tool_result', value: reasons.join('; '), event_id: event.event_id }],
          evidence: [event.event_id],
        },
      ]
    })
  },
}
