/** The catalogue on hostile values, large numbers, quarantined rows, an empty store; what it reads; its views. */
import {
  type Analytics,
  type AnyQuery,
  CATALOGUE,
  type Parameter,
  quarantineRow,
  type QueryName,
  rowsAt,
  runQuery,
} from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { execute, LOG_ID, type SeedRow, seedEvents, type Server } from '../seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../support.ts'
import { answer } from './support.ts'
import { EVENTS, RANGE } from './trail.ts'

const NAMES = Object.keys(CATALOGUE) as QueryName[]
const PARAMS = NAMES.flatMap((name) =>
  Object.entries<Parameter>(CATALOGUE[name].params).map(([param, { kind }]) => [name, param, kind] as const),
)
const TEXT_PARAMS = PARAMS.filter(([, , kind]) => kind === 'text')
const OTHER_PARAMS = PARAMS.filter(([, , kind]) => kind !== 'text')
const VIEWS = ['events', 'model_calls', 'tool_events', 'approval_events'].map((name) => `audit_view_${name}`)
const HOSTILE = [
  "'",
  `"`,
  '\\',
  "\\'",
  '\0',
  'a\0b',
  '{x:String}',
  '{agent:String}',
  "' OR 1=1 --",
  '`',
  '\n\t\r',
  '%',
  '😀',
  'x'.repeat(10_240),
  '\\N',
  'NULL',
]

describe.skipIf(NO_CLICKHOUSE !== undefined)(`the catalogue ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  /** Holds {@link EVENTS}; no test stores more in it. */
  let trail: Awaited<ReturnType<typeof seeded>>
  /** Those of one day alone. */
  let day: typeof trail | undefined
  beforeAll(async () => {
    tests = await startTestServer()
    trail = await seeded(EVENTS)
  })

  async function seeded(rows: readonly SeedRow[]) {
    const opened = await tests.newTrail()
    await seedEvents(opened.server, rows)
    return opened
  }

  it.each(TEXT_PARAMS)(
    '%s: a hostile value of %s is a value: it finds nothing that another one has',
    async (name, param) => {
      const usual = usualParams(name)
      expect((await answer(trail, name, usual as never)).length).toBeGreaterThan(0)
      for (const value of HOSTILE) {
        const rows = await answer(trail, name, { ...usual, [param]: value })
        expect([value, rows.length]).toEqual([value, 0])
      }
    },
  )

  it.each(OTHER_PARAMS)('%s: a hostile value of %s is refused before the server sees it', (name, param) => {
    for (const value of HOSTILE) {
      const ask = () => runQuery(trail, name, { ...usualParams(name), [param]: value })
      expect(ask).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }) as Error)
    }
  })

  it.each(NAMES)('%s: a hostile key of a cursor is a value, or is refused', async (name) => {
    const { order, columns } = CATALOGUE[name] as AnyQuery
    const first = runQuery(trail, name, usualParams(name) as never, { page: 1 })
    let cursor = ''
    // While the loop runs: behind the last row there is none.
    for await (const row of first) cursor = row === null ? '' : (first.next ?? '')
    const [, plain, key = []] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as string[][]
    for (const [index, column] of order.entries()) {
      for (const value of HOSTILE) {
        const forged = key.with(index, value)
        const after = Buffer.from(JSON.stringify([name, plain, forged])).toString('base64url')
        const asked = answer(trail, name, {}, { after })
        if (columns[column]?.kind === 'text') await expect(asked).resolves.toBeInstanceOf(Array)
        else await expect(asked).rejects.toMatchObject({ code: 'OPTIONS_INVALID' })
      }
    }
  })

  it('finds a session, an agent and a user by hostile names, and goes on behind them', async () => {
    const rows = HOSTILE.map((text, index) => ({
      log_offset: index,
      run_seq: index,
      session_id: text,
      agent_id: text,
      user_id: text,
      event_type: 'tool_call',
      tool_name: text,
    }))
    const named = await seeded(rows)
    for (const text of HOSTILE) {
      expect(await answer(named, 'session-trail', { session: text })).toMatchObject([{ agent_id: text }])
      expect(await answer(named, 'agent-activity', { ...RANGE, agent: text })).toMatchObject([
        { agent_id: text, events: 1 },
      ])
      expect(await answer(named, 'data-touched', { ...RANGE, user: text })).toMatchObject([{ target: text }])
    }
    const found: string[] = []
    for (let after: string | undefined, pages = 0; pages === 0 || after !== undefined; pages++) {
      const page = runQuery(named, 'agent-activity', after === undefined ? RANGE : {}, { page: 1, after })
      for await (const { agent_id: agent } of page) found.push(agent)
      after = page.next
    }
    expect(found.toSorted()).toEqual(HOSTILE.toSorted())
  })

  it('numbers beyond 2^53 keep their digits, also in the key of a page', async () => {
    const large = ['9223372036854775806', '9223372036854775807']
    const numbered = await seeded(
      large.map((run_seq, index) => ({
        log_offset: index,
        run_seq,
        event_type: 'llm_call',
        input_tokens: run_seq,
        latency_ms: run_seq,
      })),
    )
    const first = runQuery(numbered, 'session-trail', { session: 's1' }, { page: 1 })
    for await (const row of first) expect(row.run_seq).toBe(9223372036854775806n)
    expect(await answer(numbered, 'session-trail', {} as never, { after: first.next })).toMatchObject([
      { run_seq: 9223372036854775807n },
    ])
    expect(await answer(numbered, 'agent-activity', RANGE)).toMatchObject([{ input_tokens: 18446744073709551613n }])
    expect(await answer(numbered, 'latency', RANGE)).toMatchObject([{ max_ms: 9223372036854775807n }])
    for (const name of NAMES) await answer(numbered, name, textParams(name, 's1') as never)
  })

  it('each query and each view leaves quarantined rows out', async () => {
    const forged = await seeded(EVENTS.map((row) => ({ ...row, user_id: 'ann' })))
    const isEmpty = async (name: QueryName) => (await answer(forged, name, usualParams(name) as never)).length === 0
    for (const name of NAMES) expect([name, await isEmpty(name)]).toEqual([name, false])
    for (const { log_offset: offset } of EVENTS) await quarantine(forged, Number(offset))
    // The root of a tree is asked for by name; its sessions have no event.
    for (const name of NAMES) expect([name, await isEmpty(name)]).toEqual([name, true])
    for (const view of VIEWS) expect(await execute(forged.server, `SELECT count() FROM ${view}`)).toBe('0\n')
  })

  it('gives nothing of an empty store', async () => {
    const empty = await tests.newTrail()
    for (const name of NAMES)
      expect([name, await answer(empty, name, textParams(name, 'x') as never)]).toEqual([name, []])
  })

  it.each(NAMES)(
    '%s uses the index or projection that it names, and reads each event as often as it says',
    async (name) => {
      day ??= await seeded(EVENTS.filter(({ timestamp }) => String(timestamp).startsWith('2026-11-24')))
      const { cost } = CATALOGUE[name]
      const { read, explained } = await look(day, name, textParams(name, name === 'sub-agents' ? 's3' : 's1'))
      if ('projection' in cost) return expect(explained).toContain(`ReadFromMergeTree (${cost.projection})`)
      const { index, passes } = cost
      expect(explained).toContain(`Name: ${index}`)
      // A few rows more: prices, the levels of a tree.
      expect(Math.floor(read / (EVENTS.length - 1))).toBe(passes)
    },
  )

  it('the views have the rows and figures of the trail', async () => {
    const { server } = trail
    const count = async (view: string) => Number(await execute(server, `SELECT count() FROM ${view}`))
    expect(await Promise.all(VIEWS.map(count))).toEqual([EVENTS.length, 4, 8, 3])
    expect(await execute(server, 'SELECT sum(cost_usd), sum(cache_read_tokens) FROM audit_view_model_calls')).toBe(
      '0.25\t400000\n',
    )
    expect(
      await execute(
        server,
        'SELECT tool_name, count() FROM audit_view_tool_events WHERE not_taken GROUP BY ALL ORDER BY ALL',
      ),
    ).toBe('mail\t1\n\\N\t1\n')
    const plan = await execute(server, `EXPLAIN SELECT count(agent_id) FROM audit_view_events`)
    expect(plan).not.toContain('CreatingSets')
  })
})

/** The range of the seeded events, and what the query needs. */
function usualParams(name: QueryName): Record<string, unknown> {
  const { params, maxDays } = CATALOGUE[name] as AnyQuery
  const range = maxDays === undefined ? {} : RANGE
  const known = Object.entries({ session: 's1', user: 'ann' })
  return { ...range, ...Object.fromEntries(known.filter(([param]) => params[param]?.required === true)) }
}

/** Every parameter that takes a text has this one. */
function textParams(name: QueryName, text: string): Record<string, unknown> {
  const texts = Object.entries(CATALOGUE[name].params).filter(([, { kind }]) => kind === 'text')
  const range = 'maxDays' in CATALOGUE[name] ? RANGE : {}
  return { ...range, ...Object.fromEntries(texts.map(([param]) => [param, text])) }
}

async function quarantine(from: Analytics, offset: number): Promise<void> {
  const position = { log_id: LOG_ID, partition: 0, offset }
  for (const { row } of await rowsAt(from, position))
    await quarantineRow(from, position, { row, reason: 'forged', release: false })
}

/** The rows that the server read for a query, and its plan. */
async function look(from: Analytics & { readonly server: Server }, name: QueryName, params: Record<string, unknown>) {
  const sent: { sql: string; params: Readonly<Record<string, unknown>> }[] = []
  const watched: Analytics = {
    ...from,
    query: (sql, options) => {
      sent.push({ sql, params: options.params ?? {} })
      return from.query(sql, options)
    },
  }
  await answer(watched, name, params as never)
  const [query] = sent
  if (query === undefined) throw new Error('no query was sent')
  const bound: [string, string][] = Object.entries({ database: from.database, ...query.params }).map(([key, value]) => [
    `param_${key}`,
    value === null ? '\\N' : value.replaceAll('\\', '\\\\'),
  ])
  const ask = async (sql: string) => {
    const address = `${from.server.url}/?${new URLSearchParams([...bound, ['wait_end_of_query', '1']]).toString()}`
    const headers = { 'X-ClickHouse-User': from.server.username, 'X-ClickHouse-Key': from.server.password }
    const response = await fetch(address, { method: 'POST', body: sql, headers })
    const text = await response.text()
    if (!response.ok) throw new Error(text)
    return { text, summary: JSON.parse(response.headers.get('X-ClickHouse-Summary') ?? '{}') as { read_rows?: string } }
  }
  const [{ summary }, { text }] = [await ask(query.sql), await ask(`EXPLAIN indexes = 1 ${query.sql}`)]
  return { read: Number(summary.read_rows), explained: text }
}
