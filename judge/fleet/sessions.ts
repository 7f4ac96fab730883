/** The events of an agent: sessions by the hour, each of a start, steps of model call, tool call and result, and an end. */
import { createHash } from 'node:crypto'
import { type Agent, type Behaviour, behaviourAt, DAY_MS, type FleetEvent, HOUR_MS } from './model.ts'
import type { Random } from './random.ts'

interface Span {
  readonly until: Date
  readonly random: Random
}

export function eventsOfAgent(agent: Agent, { until, random }: Span): FleetEvent[] {
  const events: FleetEvent[] = []
  const clock = localClock(agent.zone)
  const born = agent.born.getTime()
  let dayNoise = 1
  for (let at = born; at < until.getTime(); at += HOUR_MS) {
    if ((at - born) % DAY_MS === 0) dayNoise = random.gamma(agent.dayShape)
    const local = clock(at)
    const weeks = (at - born) / (7 * DAY_MS)
    const mean = (agent.sessionsPerDay / 24) * seasonOf(agent, local) * (1 + agent.growth) ** weeks
    const noisy = mean * dayNoise * random.gamma(agent.hourShape) * behaviourAt(agent, at).rate
    const count = random.poisson(noisy)
    for (let session = 0; session < count; session++) {
      // A source of its own, so that a change of an hour's sessions leaves the later hours as they were.
      const own = random.fork(`${agent.agent_id}/${at}/${session}`)
      events.push(...makeSession(agent, at + Math.floor(own.next() * HOUR_MS), own))
    }
  }
  return events.filter(({ timestamp }) => timestamp < until.toISOString())
}

interface Local {
  readonly hour: number
  /** 0 is Sunday. */
  readonly day: number
}

/** Mean of a week is about 1. */
function seasonOf(agent: Agent, { hour, day }: Local): number {
  const weekend = day === 0 || day === 6
  const monday = day === 1 ? agent.monday : 1
  const bell = (middle: number, width: number): number => Math.exp(-(((hour - middle) / width) ** 2))
  switch (agent.season) {
    case 'office':
      return monday * (weekend ? 0.15 : 1.15) * (0.03 + 2.9 * bell(10, 2.6) + 2.4 * bell(15, 2.4)) * 0.9
    case 'evening':
      return monday * (weekend ? 1.4 : 0.85) * (0.2 + 3.2 * bell(20, 3.2) + 0.9 * bell(13, 4))
    case 'night':
      return monday * (0.02 + 9 * bell(2, 1.5))
    case 'always':
      return monday * (weekend ? 0.85 : 1.05) * (0.75 + 0.5 * bell(14, 5))
  }
}

function localClock(zone: string): (at: number) => Local {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hour: 'numeric',
    weekday: 'short',
    hourCycle: 'h23',
  })
  const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
  return (at) => {
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]))
    return { hour: Number(parts['hour']), day: days.indexOf(parts['weekday'] ?? '') }
  }
}

/** One session that starts at `at`, milliseconds. `steps`: of tool calls; default: drawn. */
export function makeSession(agent: Agent, at: number, random: Random, steps?: number): FleetEvent[] {
  const behaviour = behaviourAt(agent, at)
  const writer = new SessionWriter(agent, behaviour, at, random)
  const count = steps ?? Math.round(random.logNormal(behaviour.steps, agent.stepSigma))
  writer.add('session_start', { content: { user_message: `request ${random.hex(6)}` } }, 5)
  for (let step = 0; step < count; step++) writer.addStep()
  writer.addModelCall([])
  writer.add('final_output', { output_text: 'done', outcome: 'success' }, 2)
  writer.add('session_end', { outcome: 'success' }, 1)
  return writer.events
}

class SessionWriter {
  readonly events: FleetEvent[] = []
  readonly #agent: Agent
  readonly #behaviour: Behaviour
  readonly #random: Random
  readonly #stamp: Partial<FleetEvent>
  readonly #weights: Record<string, number>
  readonly #session: string
  #at: number
  #parent: string | null = null
  #step = 0

  constructor(agent: Agent, behaviour: Behaviour, at: number, random: Random) {
    const { agent_version, model_id, system_prompt, tools } = behaviour
    this.#agent = agent
    this.#behaviour = behaviour
    this.#random = random
    this.#at = at
    this.#session = `s-${random.hex(20)}`
    this.#stamp = {
      agent_version,
      model_id,
      system_prompt_hash: hashOf(system_prompt),
      user_id: `user-${random.hex(2)}`,
    }
    this.#weights = Object.fromEntries(Object.entries(tools).map(([name, { weight }]) => [name, weight]))
  }

  add(event_type: string, fields: Partial<FleetEvent>, tookMs: number): string {
    this.#at += tookMs
    const event_id = uuidAt(this.#at, this.#random)
    const delay = this.#agent.delayMs?.(this.#at) ?? 1000
    this.events.push({
      ...this.#stamp,
      event_id,
      timestamp: new Date(this.#at).toISOString(),
      event_type,
      session_id: this.#session,
      agent_id: this.#agent.agent_id,
      parent_event_id: this.#parent,
      step_number: this.#step,
      log_time: new Date(this.#at + delay).toISOString(),
      ...fields,
    })
    this.#parent = event_id
    return event_id
  }

  addModelCall(asks: { readonly name: string; readonly input: unknown }[]): void {
    const { inputTokens, outputTokens, latencyMs, usdPerMillionTokens } = this.#behaviour
    const random = this.#random
    const input_tokens = Math.round(random.logNormal(inputTokens * (1 + this.#step * 0.15), 0.4))
    const output_tokens = Math.max(1, Math.round(random.logNormal(outputTokens, 0.6)))
    const latency_ms = Math.round(random.logNormal(latencyMs * (0.5 + (0.5 * output_tokens) / outputTokens), 0.35))
    const cost_usd = ((input_tokens + 4 * output_tokens) * usdPerMillionTokens) / 1e6
    this.#step++
    const calls = { tool_calls_requested: asks, outcome: 'success' }
    this.add(
      'llm_call',
      { input_tokens, output_tokens, latency_ms, cost_usd, output_text: 'text', ...calls },
      latency_ms,
    )
  }

  addStep(): void {
    const { tools, errorRate, deniedRate } = this.#behaviour
    const random = this.#random
    const tool_name = random.weighted(this.#weights)
    const tool_input = tools[tool_name]?.input(random) ?? {}
    this.addModelCall([{ name: tool_name, input: tool_input }])
    const call = { tool_call_id: `call-${random.hex(8)}`, tool_name }
    if (random.next() < deniedRate) {
      this.add('tool_call', { ...call, tool_input, outcome: 'denied', reason_code: 'policy' }, 3)
      return
    }
    this.add('tool_call', { ...call, tool_input, outcome: 'allowed' }, 3)
    const execution_time_ms = Math.round(random.logNormal(200, 0.8))
    const failed = random.next() < errorRate
    const result = failed
      ? { error: 'upstream failed', error_type: 'HttpError', outcome: 'error' }
      : { outcome: 'success' }
    this.add('tool_result', { ...call, ...result, tool_output: 'output', execution_time_ms }, execution_time_ms)
  }
}

const hashes = new Map<string, string>()
export function hashOf(text: string): string {
  const known = hashes.get(text) ?? createHash('sha256').update(text).digest('hex')
  hashes.set(text, known)
  return known
}

/** A UUIDv7. */
function uuidAt(at: number, random: Random): string {
  const time = at.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.hex(3)}-8${random.hex(3)}-${random.hex(12)}`
}
