/** A simulated fleet: concurrent agents, each with one session after the other, that record as agents in production would. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Approval } from '@agent-audit/producer'
import { createRandom, type Random } from './random.ts'
import type { CountedSession, CountedTrail } from '../run/counted-trail.ts'
import { AGENT_KINDS, type AgentKind, type Scenario, type ToolUse, type Turn } from './scenarios.ts'

export interface FleetOptions {
  readonly sessions: number
  /** The same seed gives the same conversations; times and the order between agents differ from run to run. */
  readonly seed: number
}

/** Longest pause of an agent between two turns, milliseconds: far below a real model's, so that a run takes seconds. */
const MAX_PAUSE_MS = 24
/** How the persons of the scenarios are known. */
const SIGN_ON: Approval = { approver_kind: 'person', identity_source: 'https://login.example.com' }
const BYTES_PER_TOKEN = 4

/** Number of agents of the whole fleet. */
export const FLEET_AGENTS: number = AGENT_KINDS.reduce((total, { agents }) => total + agents, 0)

/** Runs the fleet until all sessions are recorded, or `stop` is aborted: then each agent stops between two turns. */
export async function runFleet(trail: CountedTrail, options: FleetOptions, stop: AbortSignal): Promise<void> {
  const agents = AGENT_KINDS.flatMap((kind) => Array.from({ length: kind.agents }, (_, index) => ({ kind, index })))
  await Promise.all(
    agents.map(async ({ kind, index }, agentNumber) => {
      const name = `${kind.name}-${String(index + 1).padStart(2, '0')}`
      // The sessions of an agent do not depend on how fast the others are: so the seed alone decides what happens in them.
      for (let number = agentNumber; number < options.sessions && !stop.aborted; number += agents.length) {
        const agent = new SimulatedAgent(kind, name, createRandom(options.seed, number))
        await agent.work(trail, number, stop)
      }
    }),
  )
}

class SimulatedAgent {
  readonly #kind: AgentKind
  readonly #name: string
  readonly #random: Random
  readonly #history: unknown[] = []
  #calls = 0

  constructor(kind: AgentKind, name: string, random: Random) {
    this.#kind = kind
    this.#name = name
    this.#random = random
  }

  async work(trail: CountedTrail, number: number, stop: AbortSignal): Promise<void> {
    const scenario = this.#kind.scenario(this.#random)
    const session = await trail.startSession({
      session_id: `${this.#name}-${trail.runId.slice(0, 8)}-${number + 1}`,
      agent_id: this.#name,
      agent_version: this.#kind.version,
      model_id: this.#kind.model,
      user_id: scenario.userId,
      system_prompt: this.#kind.systemPrompt,
      user_message: scenario.message,
      tools_available: this.#kind.tools,
    })
    this.#history.push({ role: 'user', content: scenario.message })
    for (const turn of scenario.turns) {
      await sleep(this.#random.next() * MAX_PAUSE_MS)
      if (stop.aborted) return
      this.#take(session, turn)
    }
    this.#end(session, scenario)
  }

  #take(session: CountedSession, turn: Turn): void {
    switch (turn.kind) {
      case 'tool':
        return this.#useTool(session, turn.call)
      case 'say':
        return this.#callModel(session, { text: turn.text })
      case 'user':
        this.#history.push({ role: 'user', content: turn.text })
        return void session.userMessage({ message: turn.text })
      case 'decide':
        return void session.decision({ reasoning: turn.reasoning })
      case 'human':
        return void session.humanIntervention({ approver_id: turn.approver, reason: turn.reason, approval: SIGN_ON })
      case 'snapshot':
        return void session.stateSnapshot(turn.state)
      default:
        return this.#callModel(session, { text: null, error: turn.error })
    }
  }

  #useTool(session: CountedSession, use: ToolUse): void {
    const { name, input, refused, crossing, result, requiresApproval } = use
    const id = `call_${++this.#calls}`
    const call = { tool_call_id: id, tool_name: name }
    this.#callModel(session, { text: null, call: { id, name, input } })
    if (crossing !== undefined) session.sandboxCrossing({ ...crossing, direction: 'out', tool_call_id: id })
    session.toolCall({ ...call, tool_input: input, requires_approval: requiresApproval, ...refused })
    if (refused !== undefined) {
      this.#history.push({ role: 'tool', tool_call_id: id, content: `${refused.outcome}: ${refused.reason}` })
      return
    }
    const { output, error, source, untrusted } = result ?? {}
    const time = this.#random.whole(4, error === undefined ? 900 : 5000)
    session.toolResult({ ...call, tool_output: output, error, source, untrusted, execution_time_ms: time })
    this.#history.push({ role: 'tool', tool_call_id: id, content: error?.message ?? output })
  }

  #callModel(session: CountedSession, answer: Answer): void {
    const { text, call, error } = answer
    const tokensIn = tokensOf(this.#history) + tokensOf(this.#kind.systemPrompt)
    const tokensOut = error === undefined ? tokensOf(call ?? text) : 0
    const cached = tokensOf(this.#kind.systemPrompt)
    session.llmCall({
      input_messages: this.#history,
      output_text: text,
      ...(call === undefined ? {} : { tool_calls_requested: [call] }),
      provider: 'simulated',
      stop_reason: error === undefined ? (call === undefined ? 'end_turn' : 'tool_use') : null,
      ...(error === undefined
        ? { input_tokens: tokensIn, output_tokens: tokensOut, cache_read_tokens: cached }
        : { error }),
      latency_ms: 180 + tokensOut * 14 + this.#random.whole(0, 900),
    })
    if (error === undefined)
      this.#history.push({ role: 'assistant', content: text, ...(call && { tool_calls: [call] }) })
  }

  #end(session: CountedSession, { end, turns }: Scenario): void {
    if (end instanceof Error) {
      session.error(end)
      session.end({ outcome: 'error' })
    } else if (end === 'answered') {
      const last = turns.findLast((turn) => turn.kind === 'say')
      if (last !== undefined) session.finalOutput({ output_text: last.text })
      session.end()
    } else {
      session.timeout({ reason: end })
    }
  }
}

interface Answer {
  readonly text: string | null
  readonly call?: { readonly id: string; readonly name: string; readonly input: unknown }
  readonly error?: Error
}

/** About the number of tokens that a model would count. */
function tokensOf(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / BYTES_PER_TOKEN)
}
