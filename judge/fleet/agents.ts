/** Draws agents: what they work on, when, how much, with which tools and model. */
import type { Agent, Behaviour, Tool } from './model.ts'
import type { Random } from './random.ts'

const ZONES = ['Europe/Berlin', 'America/New_York', 'UTC']
const SEASONS = ['office', 'office', 'evening', 'always', 'always', 'night'] as const
const JOBS = ['billing', 'support', 'triage', 'research', 'travel', 'claims', 'inventory', 'onboarding']

interface Model {
  readonly latencyMs: number
  readonly usdPerMillionTokens: number
  readonly wordiness: number
}
/** Made names and figures: the detectors know no model. */
export const MODELS: Readonly<Record<string, Model>> = {
  'made-small-1': { latencyMs: 700, usdPerMillionTokens: 1, wordiness: 0.8 },
  'made-medium-2': { latencyMs: 1800, usdPerMillionTokens: 5, wordiness: 1 },
  'made-large-3': { latencyMs: 4200, usdPerMillionTokens: 20, wordiness: 1.3 },
}

const id = (random: Random): string => random.hex(8)
/** Arguments as tools have them: fixed keys, optional ones, nested ones. */
const INPUTS: Readonly<Record<string, (random: Random) => Record<string, unknown>>> = {
  search: (random) => ({ query: `words ${id(random)}`, limit: 10, ...(random.next() < 0.3 ? { language: 'en' } : {}) }),
  get_record: (random) => ({ id: id(random) }),
  update_record: (random) => ({ id: id(random), fields: { status: random.pick(['open', 'closed']) } }),
  send_email: (random) => ({
    to: [`user${random.hex(3)}@example.com`],
    subject: 'Your request',
    body: `text ${id(random)}`,
    ...(random.next() < 0.1 ? { cc: ['team@example.com'] } : {}),
  }),
  read_file: (random) => ({ path: `/data/${id(random)}` }),
  run_query: (random) => ({ sql: `SELECT ${random.hex(2)}`, timeout_s: 30 }),
  create_ticket: (random) => ({
    title: `ticket ${id(random)}`,
    priority: random.pick(['low', 'high']),
    tags: ['agent'],
  }),
  refund: (random) => ({ order_id: id(random), amount: Math.round(random.between(1, 200)), currency: 'EUR' }),
  calculate: (random) => ({ expression: `${random.hex(2)} + 1` }),
  fetch_page: (random) => ({
    url: `https://example.com/${id(random)}`,
    ...(random.next() < 0.5 ? { headers: {} } : {}),
  }),
}

/** A tool of the made world. A name that it does not have takes an id. */
export function toolOf(name: string, weight: number): Tool {
  return { weight, input: INPUTS[name] ?? ((random) => ({ id: id(random) })) }
}

export function makeAgent(index: number, born: Date, random: Random): Agent {
  const season = random.pick(SEASONS)
  return {
    agent_id: `${random.pick(JOBS)}-${index.toString().padStart(3, '0')}`,
    season,
    zone: random.pick(ZONES),
    sessionsPerDay: random.next() < 0.3 ? random.between(45, 80) : random.between(14, 32),
    monday: random.next() < 0.2 ? 2 : random.between(1, 1.3),
    growth: random.between(-0.03, 0.1),
    hourShape: random.between(4, 20),
    dayShape: random.between(15, 60),
    stepSigma: random.between(0.5, 0.8),
    born,
    base: makeBehaviour(random),
    changes: [],
  }
}

function makeBehaviour(random: Random): Behaviour {
  const model_id = random.pick(Object.keys(MODELS))
  const model = MODELS[model_id] as Model
  const names = Object.keys(INPUTS)
    .map((name) => ({ name, order: random.next() }))
    .toSorted((a, b) => a.order - b.order)
    .slice(0, 4 + Math.floor(random.next() * 4))
  return {
    rate: 1,
    steps: random.between(1, 2),
    agent_version: `1.${Math.floor(random.next() * 9)}.0`,
    model_id,
    system_prompt: `You are agent ${random.hex(6)}.`,
    latencyMs: model.latencyMs * random.between(0.7, 1.5),
    inputTokens: random.between(500, 6000),
    outputTokens: model.wordiness * random.between(60, 400),
    usdPerMillionTokens: model.usdPerMillionTokens,
    errorRate: random.between(0.005, 0.06),
    deniedRate: random.next() < 0.3 ? random.between(0.005, 0.03) : 0,
    // Some tools are used all the time, some rarely.
    tools: Object.fromEntries(names.map(({ name }) => [name, toolOf(name, random.logNormal(1, 1))])),
  }
}
