/**
 * Prices of models, USD for a million tokens, with their sources: data, used only where a record has no cost of its own. They
 * are list prices: no batch, long-context or contract rates. Not on the list means that the model is named as unpriced, never
 * that it is free.
 */

export interface Price {
  /** model_id without its date: `claude-sonnet-4-5` is also the price of `claude-sonnet-4-5-20250929`. */
  readonly model: string
  /** First day of the price, UTC; `1970-01-01` for the only price that is known of the model. */
  readonly since: string
  readonly input: number
  readonly cache_read: number
  /** Of a cache that lasts 5 minutes, where the provider has several. */
  readonly cache_write: number
  readonly output: number
  readonly source: string
  /** The day on which the source said so. */
  readonly read_on: string
}

const ALWAYS = '1970-01-01'
/** The copy of the page that was read carries no date of its own. */
const ANTHROPIC = { source: 'https://platform.claude.com/docs/en/about-claude/pricing', read_on: '2026-11-29' } as const
const SONNET_5_5 = {
  source: 'https://github.com/TheKrush/PromptFuel/releases/tag/v1.0.23, after the pricing pages of Anthropic',
  read_on: '2026-10-16',
} as const
/** A cached prompt costs nothing to write there: it is plain input. */
const OPENAI = {
  source: 'https://github.com/github/docs/blob/main/data/tables/copilot/models-and-pricing.yml',
  read_on: '2026-11-29',
} as const

function price(model: string, [input, cache_write, cache_read, output]: readonly [number, number, number, number]) {
  return { model, since: ALWAYS, input, cache_read, cache_write, output }
}

export const PRICES: readonly Price[] = [
  { ...price('claude-opus-4-5', [5, 6.25, 0.5, 25]), ...ANTHROPIC },
  { ...price('claude-opus-4-6', [5, 6.25, 0.5, 25]), ...ANTHROPIC },
  { ...price('claude-opus-4-7', [5, 6.25, 0.5, 25]), ...ANTHROPIC },
  { ...price('claude-opus-4-8', [5, 6.25, 0.5, 25]), ...ANTHROPIC },
  { ...price('claude-opus-5', [5, 6.25, 0.5, 25]), ...ANTHROPIC },
  { ...price('claude-opus-4-1', [15, 18.75, 1.5, 75]), ...ANTHROPIC },
  { ...price('claude-opus-4', [15, 18.75, 1.5, 75]), ...ANTHROPIC },
  { ...price('claude-sonnet-4', [3, 3.75, 0.3, 15]), ...ANTHROPIC },
  { ...price('claude-sonnet-4-5', [3, 3.75, 0.3, 15]), ...ANTHROPIC },
  { ...price('claude-sonnet-4-6', [3, 3.75, 0.3, 15]), ...ANTHROPIC },
  { ...price('claude-3-7-sonnet', [3, 3.75, 0.3, 15]), ...ANTHROPIC },
  { ...price('claude-haiku-4-5', [1, 1.25, 0.1, 5]), ...ANTHROPIC },
  { ...price('claude-3-5-haiku', [0.8, 1, 0.08, 4]), ...ANTHROPIC },
  { ...price('claude-sonnet-5-5', [2, 2.5, 0.2, 10]), ...SONNET_5_5 },
  { ...price('claude-sonnet-5-5', [2, 2.5, 0.1, 10]), since: '2026-10-07', ...SONNET_5_5 },
  { ...price('gpt-4.1', [2, 2, 0.5, 8]), ...OPENAI },
  { ...price('gpt-5-mini', [0.25, 0.25, 0.025, 2]), ...OPENAI },
  { ...price('gpt-5.2', [1.75, 1.75, 0.175, 14]), ...OPENAI },
]
