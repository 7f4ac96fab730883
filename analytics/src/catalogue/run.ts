/** Runs a query of the catalogue. */
import { InvalidInputError, noSuch } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { CATALOGUE, type ParamsOf, type QueryName, type RowOf } from './catalogue.ts'
import { behind, readCursor, writeCursor } from './cursor.ts'
import { type AnyQuery, bind, type Resolved, resolveParams } from './params.ts'
import { schemaOf, selectOf } from './rows.ts'

export interface PageOptions {
  /** Most rows, 1 to 1,000,000. @defaultValue all */
  readonly page?: number | undefined
  /** `next` of the page before: it has the parameters too. */
  readonly after?: string | undefined
  /** Ends the query, also on the server. */
  readonly signal?: AbortSignal | undefined
}

/** The rows of a query. Iterate once. */
export interface QueryRows<Row> extends AsyncIterable<Row, void, undefined> {
  /** The parameters, with both ends of the range. */
  readonly params: Readonly<Record<string, string | Date>>
  /** Cursor behind the last row given; undefined when the iteration has come to the last row that there is. */
  readonly next: string | undefined
}

const MAX_PAGE = 1_000_000

/**
 * Runs a query: streams its rows, in its order, in bounded memory. Quarantined rows are left out.
 *
 * ```ts
 * const rows = runQuery(analytics, 'tokens', { since: new Date('2026-11-01'), agent: 'support' }, { page: 1000 })
 * for await (const { day, model_id, input_tokens } of rows) …
 * const rest = runQuery(analytics, 'tokens', {}, { after: rows.next })
 * ```
 *
 * A page begins behind the last row of the page before, whatever was stored meanwhile: no row comes twice. Of events that
 * arrive late, those behind the cursor are in later pages, as are sums that they change.
 * @throws InvalidInputError `OPTIONS_INVALID` at once, naming every wrong parameter; as {@link Analytics.query} during the iteration.
 */
export function runQuery<Name extends QueryName>(
  analytics: Analytics,
  name: Name,
  params: ParamsOf<Name>,
  options: PageOptions = {},
): QueryRows<RowOf<Name>> {
  const { query, resolved, key } = prepare(name, params, options)
  return new Rows<RowOf<Name>>(analytics, { query, resolved, key, options })
}

/**
 * All rows of a query as the bytes of a file that the server writes; undefined if there is no row. A file that is cut does not
 * end in `PAR1`. @throws as {@link runQuery}.
 */
export async function queryFile<Name extends QueryName>(
  analytics: Analytics,
  name: Name,
  params: ParamsOf<Name>,
): Promise<AsyncIterable<Buffer> | undefined> {
  const { query, resolved } = prepare(name, params, {})
  const { analytics: readable } = await withoutQuarantined(analytics)
  const bound = bind(query, resolved)
  const first = await readable.rows(`SELECT 1 AS found FROM (${query.sql}) LIMIT 1`, bound)
  if (first.length === 0) return undefined
  const sql = `SELECT ${selectOf(query, 'file')} FROM (${query.sql}) AS q ORDER BY ${orderOf(query)}`
  return readable.bytes(sql, { format: 'Parquet', params: bound })
}

/** @throws InvalidInputError `OPTIONS_INVALID` with the near name, if there is no such query. */
export function findQuery(name: string): AnyQuery {
  if (Object.hasOwn(CATALOGUE, name)) return CATALOGUE[name as QueryName]
  const known = Object.keys(CATALOGUE)
  const fault = noSuch('query', name, known)
  const hint = fault.includes('did you mean') ? '' : `; there are ${known.join(', ')}`
  throw new InvalidInputError('OPTIONS_INVALID', `${fault}${hint}`)
}

interface Prepared {
  readonly query: AnyQuery
  readonly resolved: Resolved
  readonly key: readonly string[] | undefined
}

function prepare(name: string, params: object, { page, after }: PageOptions): Prepared {
  const query = findQuery(name)
  const given = params as Readonly<Record<string, unknown>>
  if (page !== undefined && !(Number.isInteger(page) && page >= 1 && page <= MAX_PAGE)) {
    throw new InvalidInputError('OPTIONS_INVALID', `query ${name}: page: expected a whole number from 1 to ${MAX_PAGE}`)
  }
  if (after === undefined) return { query, resolved: resolveParams(query, given), key: undefined }
  const extra = Object.keys(given).find((each) => given[each] !== undefined)
  if (extra !== undefined) {
    const message = `query ${name}: ${extra}: a cursor has the parameters of its query: give none beside it`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  const cursor = readCursor(query, after)
  return { query, resolved: cursor.params, key: cursor.key }
}

function orderOf({ order }: AnyQuery): string {
  return order.map((name) => `q.${name}`).join(', ')
}

class Rows<Row> implements QueryRows<Row> {
  readonly params: Resolved
  next: string | undefined
  readonly #analytics: Analytics
  readonly #run: Prepared & { readonly options: PageOptions }

  constructor(analytics: Analytics, run: Prepared & { readonly options: PageOptions }) {
    this.#analytics = analytics
    this.#run = run
    this.params = run.resolved
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Row, void, undefined> {
    const { query, resolved, options } = this.#run
    const { analytics } = await withoutQuarantined(this.#analytics)
    const { sql, params } = this.#page()
    let last: Row | undefined
    let given = 0
    for await (const row of analytics.query(sql, {
      schema: schemaOf<Row>(query, analytics.fields),
      params,
      signal: options.signal,
    })) {
      // One more than the page was asked for: the page is not the last one.
      if (given === options.page) return
      given += 1
      last = row
      this.next = writeCursor(query, { params: resolved, key: keyOf(query, last) })
      yield row
    }
    this.next = undefined
  }

  #page(): { sql: string; params: Record<string, string | null> } {
    const { query, resolved, key, options } = this.#run
    const { condition, values } = key === undefined ? { condition: 'true', values: {} } : behind(query, key)
    const limit = options.page === undefined ? '' : `LIMIT ${options.page + 1}`
    const sql = `SELECT ${selectOf(query, 'json')} FROM (${query.sql}) AS q WHERE ${condition} ORDER BY ${orderOf(query)} ${limit}`
    return { sql, params: { ...bind(query, resolved), ...values } }
  }
}

function keyOf(query: AnyQuery, row: unknown): string[] {
  return query.order.map((name) => String((row as Readonly<Record<string, unknown>>)[name]))
}
