/** Tokens and cost by agent, model and day: what was recorded, and what the price list adds where no cost was recorded. */
import { AGENT_RANGE_PARAMS, type AgentRange, EVENTS, IN_DAYS, MAX_DAYS, type NamedQuery, optional } from '../query.ts'
import { PRICES } from './prices.ts'

export interface TokensParams extends AgentRange {
  readonly model?: string | undefined
}

export interface TokensRow {
  readonly day: string
  readonly agent_id: string
  readonly model_id: string
  readonly calls: number | bigint
  readonly input_tokens: number | bigint | null
  readonly cache_read_tokens: number | bigint | null
  readonly cache_write_tokens: number | bigint | null
  readonly uncached_input_tokens: number | bigint | null
  readonly output_tokens: number | bigint | null
  readonly recorded_calls: number | bigint
  readonly recorded_cost_usd: number | null
  readonly computed_calls: number | bigint
  readonly computed_cost_usd: number | null
  readonly unpriced_calls: number | bigint
  readonly unpriced_because: string | null
  readonly price: string | null
}

/** A column has a value. Written as the projection `days` has it: the server reads `IS NOT NULL` of a bare column from its rows. */
const has = (column: string): string => `e.${column} + 0 IS NOT NULL`
const COUNTED = `e.event_type = 'llm_call' OR ${has('input_tokens')} OR ${has('output_tokens')} OR ${has('cost_usd')}`
/** No cost is recorded, and both counts of tokens are: one of them alone would give too low a cost. */
const OPEN = `e.cost_usd + 0 IS NULL AND ${has('input_tokens')} AND ${has('output_tokens')}`
const CACHED = '(ifNull(toInt128(e.cache_read_tokens), 0) + ifNull(toInt128(e.cache_write_tokens), 0))'
const sumOf = (column: string): string => `sum(toInt128(e.${column}))`
const openSumOf = (column: string): string => `sumIf(ifNull(toInt128(e.${column}), 0), ${OPEN})`
/** Sums of the projection `days` (schemas/clickhouse/0011_answers.sql), which has each of these expressions. */
const DAYS = `
  SELECT toDate(e.timestamp) AS day, e.agent_id AS agent_id, ifNull(e.model_id, '') AS model_id,
    replaceRegexpOne(model_id, '-(\\\\d{8}|\\\\d{4}-\\\\d{2}-\\\\d{2})$', '') AS undated, countIf(${COUNTED}) AS calls,
    ${sumOf('input_tokens')} AS input_tokens, ${sumOf('cache_read_tokens')} AS cache_read_tokens,
    ${sumOf('cache_write_tokens')} AS cache_write_tokens,
    sum(toInt128(e.input_tokens) - ${CACHED}) AS uncached_input_tokens, ${sumOf('output_tokens')} AS output_tokens,
    countIf(${has('cost_usd')}) AS recorded_calls, sum(e.cost_usd) AS recorded_cost_usd, countIf(${OPEN}) AS open_calls,
    sumIf(greatest(ifNull(toInt128(e.input_tokens), 0) - ${CACHED}, 0), ${OPEN}) AS plain,
    ${openSumOf('cache_read_tokens')} AS cache_read, ${openSumOf('cache_write_tokens')} AS cache_write,
    ${openSumOf('output_tokens')} AS written
  FROM ${EVENTS}
  WHERE ${IN_DAYS} AND ${optional('agent')} AND ${optional('model', 'e.model_id')}
  GROUP BY day, e.agent_id, model_id
  HAVING calls > 0`
const PRICE_ROWS = `
  SELECT p.1 AS model, p.2 AS since, p.3 AS input_usd, p.4 AS cache_read_usd, p.5 AS cache_write_usd, p.6 AS output_usd,
    p.7 AS described
  FROM (
    SELECT arrayJoin(JSONExtract({prices:String}, 'Array(Tuple(String, Date, Float64, Float64, Float64, Float64, String))')) AS p)`

export const tokens: NamedQuery<TokensParams, TokensRow> = {
  name: 'tokens',
  answers: 'How many tokens did each agent use of each model on each day, and what did they cost?',
  reads:
    'llm_call events in the range, and every other event with tokens or a cost, as sums of whole days (UTC). A cost that a record has is taken as it is; only for calls without one is the price list used.',
  cost: { projection: 'days' },
  params: { ...AGENT_RANGE_PARAMS, model: { kind: 'text', about: 'only this model_id' } },
  columns: {
    day: { kind: 'day', about: 'Day of the event, UTC.' },
    agent_id: { kind: 'text', about: 'The agent.' },
    model_id: { kind: 'text', about: 'The model; empty where it was not recorded.' },
    calls: { kind: 'integer', about: 'Events counted.' },
    input_tokens: {
      kind: 'integer',
      nullable: true,
      wide: true,
      about: 'Tokens given to the model, cached ones included.',
    },
    cache_read_tokens: {
      kind: 'integer',
      nullable: true,
      wide: true,
      about: 'Those read from the cache of the provider.',
    },
    cache_write_tokens: { kind: 'integer', nullable: true, wide: true, about: 'Those written to that cache.' },
    uncached_input_tokens: { kind: 'integer', nullable: true, wide: true, about: 'The rest of the input.' },
    output_tokens: { kind: 'integer', nullable: true, wide: true, about: 'Tokens that the model gave.' },
    recorded_calls: { kind: 'integer', about: 'Calls whose record has a cost.' },
    recorded_cost_usd: { kind: 'number', nullable: true, about: 'The sum of those costs.' },
    computed_calls: { kind: 'integer', about: 'Calls whose cost was computed from their tokens and the price list.' },
    computed_cost_usd: { kind: 'number', nullable: true, about: 'The sum of those costs.' },
    unpriced_calls: { kind: 'integer', about: 'Calls without any cost: they are in neither sum.' },
    unpriced_because: {
      kind: 'text',
      nullable: true,
      about: 'Why: input or output tokens not recorded, model not recorded, or no price of the model.',
    },
    price: {
      kind: 'text',
      nullable: true,
      about: 'The entry of the price list that was used: model, first day, source, the day it was read.',
    },
  },
  order: ['day', 'agent_id', 'model_id'],
  maxDays: MAX_DAYS.sums,
  wholeDays: true,
  constants: {
    prices: JSON.stringify(
      PRICES.map(({ model, since, input, cache_read, cache_write, output, source, read_on }) => {
        const described = `${model} from ${since}: ${source}, read on ${read_on}`
        return [model, since, input, cache_read, cache_write, output, described]
      }),
    ),
  },
  sql: `
    SELECT d.day AS day, d.agent_id AS agent_id, d.model_id AS model_id, d.calls AS calls, d.input_tokens AS input_tokens,
      d.cache_read_tokens AS cache_read_tokens, d.cache_write_tokens AS cache_write_tokens,
      d.uncached_input_tokens AS uncached_input_tokens, d.output_tokens AS output_tokens,
      d.recorded_calls AS recorded_calls, d.recorded_cost_usd AS recorded_cost_usd,
      if(p.model = '', 0, d.open_calls) AS computed_calls,
      if(computed_calls = 0, NULL, (toFloat64(d.plain) * p.input_usd + toFloat64(d.cache_read) * p.cache_read_usd
        + toFloat64(d.cache_write) * p.cache_write_usd + toFloat64(d.written) * p.output_usd) / 1000000) AS computed_cost_usd,
      d.calls - d.recorded_calls - computed_calls AS unpriced_calls,
      multiIf(unpriced_calls = 0, NULL, d.open_calls = 0 OR p.model != '', 'input or output tokens not recorded',
        d.model_id = '', 'model not recorded', 'no price of the model') AS unpriced_because,
      if(computed_calls = 0, NULL, p.described) AS price
    FROM (${DAYS}) AS d ASOF LEFT JOIN (${PRICE_ROWS}) AS p ON p.model = d.undated AND d.day >= p.since`,
}
