/** `query` streams: bounded memory, an end on the server too, and the server's errors also after some rows. */
import type { Analytics, RowSchema } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

const NUMBER = z.object({ number: z.number() })
/** Some terabytes: a reader of the whole does not end. */
const ENDLESS = `SELECT number, repeat('x', 1000) AS text FROM numbers(5000000000)`
/** Marks a query in system.processes. */
const marked = (mark: string, sql: string): string => `/* ${mark} */ ${sql}`
/** Works for minutes before its first row. */
const SLOW = 'SELECT count() AS number FROM numbers(100000000000) AS n WHERE sipHash64(n.number) = 3'

/** Takes rows until the query ends or `most` are there. */
async function take<Row>(rows: AsyncIterable<Row>, most = Infinity, into: Row[] = []): Promise<Row[]> {
  for await (const row of rows) {
    into.push(row)
    if (into.length >= most) break
  }
  return into
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`query ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  let admin: Analytics
  beforeAll(async () => {
    tests = await startTestServer()
    admin = await tests.newTrail()
  })

  async function running(mark: string): Promise<number> {
    const query = 'SELECT count() AS n FROM system.processes WHERE query LIKE {mark:String}'
    const [row] = await admin.rows<{ n: number }>(query, { mark: `/* ${mark} */%` })
    return Number(row?.n)
  }

  it('gives rows as the schema has them, with parameters', async () => {
    const schema = z.object({ session: z.string().transform((name) => name.toUpperCase()), n: z.number() })
    const sql = 'SELECT {name:String} AS session, toInt32(n) AS n FROM (SELECT arrayJoin({list:Array(Int32)}) AS n);'
    const rows = await take(admin.query(sql, { schema, params: { name: 'a\n"b\u2028', list: [1, 2] } }))
    expect(rows).toEqual([
      { session: 'A\n"B\u2028', n: 1 },
      { session: 'A\n"B\u2028', n: 2 },
    ])
  })

  it('refuses a row that does not fit, naming the field and not its value', async () => {
    const schema = z.object({ text: z.number() })
    const failure = take(admin.query(`SELECT 'secret' AS text`, { schema }))
    await expect(failure).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      retryable: false,
      message: expect.stringMatching(/text: .*expected number(?!.*secret)/) as string,
    })
  })

  it('keeps every digit of an integer: a number where it is safe, else a bigint', async () => {
    const sql = `SELECT toUInt64(9007199254740991) AS safe, toUInt64(18446744073709551615) AS high,
      toInt64(-9223372036854775808) AS low, 0.1234567890123456 AS real, '12345678901234567890' AS text`
    const [row] = await take(admin.query(sql, { schema: z.record(z.string(), z.unknown()) }))
    expect(row).toEqual({
      safe: 9007199254740991,
      high: 18446744073709551615n,
      low: -9223372036854775808n,
      real: 0.123_456_789_012_345_6,
      text: '12345678901234567890',
    })
  })

  it('lets the server wait while a row is worked on, in bounded memory', async () => {
    const heap: number[] = []
    let rows = 0
    const before = process.memoryUsage()
    for await (const { number } of admin.query(ENDLESS, { schema: NUMBER })) {
      if (number !== rows++) throw new Error(`row ${rows} is ${number}`)
      if (rows % 20_000 === 0) {
        // The server has time to send: without back-pressure it would.
        await new Promise((resolve) => setTimeout(resolve, 20))
        const { arrayBuffers, heapUsed, external } = process.memoryUsage()
        heap.push((arrayBuffers + heapUsed + external - before.heapUsed - before.external) / 2 ** 20)
      }
      if (rows === 400_000) break
    }
    expect(Math.max(...heap)).toBeLessThan(150)
  }, 60_000)

  it.each(['admin', 'reader'] as const)('ends the query on the server when the loop is left, as %s', async (user) => {
    const mark = `left ${user}`
    await take(tests.connect(user).query(marked(mark, ENDLESS), { schema: NUMBER }), 5)
    await expect.poll(() => running(mark), { timeout: 15_000 }).toBe(0)
  })

  it('ends by a signal, also before the first row, with the reason of the signal', async () => {
    const reason = new Error('enough')
    for (const [mark, sql] of [
      ['signal slow', SLOW],
      ['signal endless', ENDLESS],
    ] as const) {
      const abort = new AbortController()
      const reading = take(admin.query(marked(mark, sql), { schema: NUMBER, signal: abort.signal }), 1e9).catch(
        (error: unknown) => error,
      )
      await expect.poll(() => running(mark), { timeout: 15_000 }).toBe(1)
      abort.abort(reason)
      expect(await reading).toBe(reason)
      await expect.poll(() => running(mark), { timeout: 15_000 }).toBe(0)
    }
    const aborted = take(admin.query(ENDLESS, { schema: NUMBER, signal: AbortSignal.abort(reason) }))
    await expect(aborted).rejects.toBe(reason)
  }, 60_000)

  it('ends a query whose next row takes longer than the time-out, on the server too', async () => {
    const failure = take(admin.query(marked('late', SLOW), { schema: NUMBER, timeoutMs: 300 }))
    await expect(failure).rejects.toMatchObject({
      code: 'STORE_LIMIT',
      retryable: true,
      message: expect.stringContaining('within 300 ms') as string,
    })
    await expect.poll(() => running('late'), { timeout: 15_000 }).toBe(0)
    // Only waiting for the server counts.
    const rows = admin.query('SELECT number FROM numbers(3)', { schema: NUMBER, timeoutMs: 1000 })
    for await (const row of rows) await new Promise((resolve) => setTimeout(resolve, 500 + row.number))
  })

  it('throws an error that the server meets after it has sent rows', async () => {
    const rows: { number: number }[] = []
    const sql = `SELECT number, throwIf(number = 1000000, {text:String}) FROM numbers(2000000)`
    const failure = take(
      tests.connect('reader').query(sql, { schema: NUMBER, params: { text: 'secret' } }),
      Infinity,
      rows,
    )
    await expect(failure).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      message: expect.stringMatching(/FUNCTION_THROW_IF(?!.*secret)/) as string,
    })
    expect(rows.length).toBeGreaterThan(1000)
    expect(rows.length).toBeLessThanOrEqual(1_000_000)
    expect(rows.every(({ number }, index) => number === index)).toBe(true)
  })

  it('may choose settings for itself, where the profile of the user lets it', async () => {
    const sql = 'SELECT number FROM numbers(3) SETTINGS max_threads = 1'
    expect(await take(admin.query(sql, { schema: NUMBER }))).toHaveLength(3)
    await expect(take(tests.connect('reader').query(sql, { schema: NUMBER }))).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
    })
  })

  it.each(['admin', 'reader'] as const)('writes nothing, as %s', async (user) => {
    const schema: RowSchema<unknown> = { parse: (row) => row }
    const statements = [
      'ALTER TABLE {database:Identifier}.audit_events DELETE WHERE true',
      'INSERT INTO {database:Identifier}.audit_logs (topic) SELECT 1',
      'DROP TABLE {database:Identifier}.audit_logs',
      'SELECT 1 AS number SETTINGS readonly = 0',
    ]
    for (const sql of statements) {
      await expect(take(tests.connect(user).query(sql, { schema }))).rejects.toMatchObject({
        code: expect.stringMatching(/ACCESS_DENIED|STORE_REFUSED/) as string,
      })
    }
    await expect(take(tests.connect(user).query(statements[0] ?? '', { schema }))).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
    })
  })
})
