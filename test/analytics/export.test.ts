/** The export: what another reader of Parquet finds in the folder, however often and wherever the export was interrupted. */
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { connectAnalytics, exportTrail, type Manifest, quarantineRow, rowsAt } from '@agent-audit/analytics'
import { DuckDBInstance } from '@duckdb/node-api'
import { beforeAll, describe, expect, it } from 'vitest'
import { type ProxyRule, startCuttingProxy } from '../support/cutting-proxy.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { execute, LOG_ID, type SeedRow, seedEvents, seedSkipped, type Server } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

const SINCE = new Date('2026-11-20')
const UNTIL = new Date('2026-11-25')
const HOSTILE = [
  '../../etc/passwd',
  '/absolute',
  '..',
  '',
  'a',
  'A',
  'a=b',
  'day=2026-11-24',
  '*.parquet',
  '[x]{1,2}',
  '100%',
  '%2E',
  '007',
  '__HIVE_DEFAULT_PARTITION__',
  `quote ' " \n \u001B[2J`,
  'CON',
  'Ünïcode 名前',
  '🦊'.repeat(200),
  `${'🦊'.repeat(200)}!`,
]

/** Rows at these offsets, two agents, over the days from 22 to 24 November. */
function rows(from: number, to: number, more: SeedRow = {}): SeedRow[] {
  return Array.from({ length: to - from }, (_, index) => ({
    log_offset: from + index,
    run_seq: from + index,
    agent_id: index % 3 === 0 ? 'billing' : 'support',
    timestamp: `2026-11-2${2 + ((from + index) % 3)} 10:00:00.000001`,
    ...more,
  }))
}

/** The answer of DuckDB over all the files, as it reads the folders by itself. */
async function ask(directory: string, select: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create()
  const connection = await instance.connect()
  const reader = await connection.runAndReadAll(select.replace('EVENTS', `'${directory}/events/**/*.parquet'`))
  const found = reader.getRowObjectsJson()
  connection.closeSync()
  return found
}

async function offsets(directory: string): Promise<string[]> {
  const found = await ask(directory, 'SELECT log_partition AS p, log_offset AS o FROM EVENTS ORDER BY p, o::BIGINT')
  return found.map(({ p, o }) => `${String(p)}/${String(o)}`)
}

const upTo = (count: number, partition = 0): string[] => Array.from({ length: count }, (_, at) => `${partition}/${at}`)

const memory = (): number => process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed

/** Everything below a directory: files with the hash of their content. */
function tree(directory: string): Record<string, string> {
  const paths = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  const files = paths.filter((path) => statSync(join(directory, path)).isFile() && path !== '.export.db')
  return Object.fromEntries(
    files.map((path) => [
      path,
      createHash('sha256')
        .update(readFileSync(join(directory, path)))
        .digest('hex'),
    ]),
  )
}

function manifestOf(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as Manifest
}

/** Events of 50 kB that do not compress, in one file. */
async function addLarge(server: Server, count: number): Promise<void> {
  await execute(
    server,
    `INSERT INTO audit_events (run_id, run_seq, producer_id, session_seq, retention_class, event_id, timestamp, event_type,
         session_id, agent_id, step_number, output_text, requires_approval, log_id, log_partition, log_offset, log_time, writer_schema)
       SELECT toFixedString('r', 16), number, 'seed', number, 'default', generateUUIDv7(number), now64(6), 'llm_call', 's', 'a', 0,
         randomPrintableASCII(50000), false, unhex('${LOG_ID}'), 0, number, now64(3), 1 FROM numbers(${count})`,
    { log_comment: '9000000000000 9000000000000' },
  )
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`exportTrail ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('writes a file a day and agent that DuckDB reads as the rows of the table, and a manifest that names all of it', async () => {
    const trail = await tests.newTrail()
    await seedEvents(
      trail.server,
      rows(0, 30, { cost_usd: 0.25, content: { a: 1 }, system_prompt_hash: 'ab'.repeat(32) }),
    )
    await seedEvents(trail.server, rows(0, 10, { log_partition: 3, requires_approval: true }))
    await seedEvents(trail.server, rows(30, 31, { timestamp: '2026-11-25 00:00:00.000000' }))
    const directory = join(makeTempDirectory(), 'made')
    const report = await exportTrail(trail, { since: SINCE, until: UNTIL, directory })
    const { tables, range, complete_to, rounds } = manifestOf(directory)
    expect(report.manifest).toEqual(manifestOf(directory))
    expect(range).toEqual({
      since: '2026-11-20T00:00:00.000Z',
      until: '2026-11-25T00:00:00.000Z',
      clock: 'event_time',
      agent: null,
    })
    expect(complete_to).toEqual([
      { log_id: LOG_ID, partition: 0, offset: 31 },
      { log_id: LOG_ID, partition: 3, offset: 10 },
    ])
    expect(rounds).toMatchObject([{ round: 1, held: [], quarantined_rows: 0 }])
    expect(tables.events.rows).toBe(40)
    const files = tree(directory)
    expect(Object.keys(files).toSorted()).toEqual(
      ['manifest.json', ...tables.events.files.map(({ path }) => path)].toSorted(),
    )
    for (const { path, sha256, bytes, agent, day, first, last, rows: count } of tables.events.files) {
      expect([files[path], statSync(join(directory, path)).size]).toEqual([sha256, bytes])
      const [own] = await ask(
        directory,
        `SELECT count(*)::INT AS rows, any_value(agent_id) AS agent, any_value(day)::VARCHAR AS day, count(DISTINCT agent_id)::INT AS agents,
           min([log_partition, log_offset::INT]) AS first, max([log_partition, log_offset::INT]) AS last FROM '${directory}/${path}'`,
      )
      expect(own).toMatchObject({ rows: count, agent, day, agents: 1 })
      expect([first, last].map(({ partition, offset }) => [partition, offset])).toEqual([own?.['first'], own?.['last']])
    }
    expect(await offsets(directory)).toEqual([...upTo(30), ...upTo(10, 3)])
    const [event] = await ask(directory, 'SELECT * FROM EVENTS WHERE log_offset = 4 AND log_partition = 0')
    expect(event).toMatchObject({
      event_id: '01900000-0000-7000-8000-000000000004',
      run_id: '1'.padStart(32, '0'),
      log_id: LOG_ID,
      timestamp: '2026-11-23 10:00:00.000001+00',
      log_time: '2026-11-24 10:00:00.5+00',
      cost_usd: 0.25,
      content: '{"a":1}',
      system_prompt_hash: 'ab'.repeat(32),
      requires_approval: false,
      user_id: null,
      writer_schema: '0000000000000001',
    })
    expect(tables.events.columns.map(({ name }) => name)).toEqual(
      Object.keys(event ?? {}).filter((name) => name !== 'day' && name !== 'agent'),
    )
  })

  it('keeps hostile names of agents inside of the folder, apart from each other, and whole in a column', async () => {
    const trail = await tests.newTrail()
    await seedEvents(
      trail.server,
      HOSTILE.map((agent_id, log_offset) => ({ agent_id, log_offset, run_seq: log_offset })),
    )
    const outer = makeTempDirectory()
    const directory = join(outer, 'export')
    const { manifest } = await exportTrail(trail, { since: SINCE, directory })
    expect(readdirSync(outer)).toEqual(['export'])
    expect(readdirSync(directory).toSorted()).toEqual(['.export.db', 'events', 'manifest.json'])
    const found = await ask(directory, 'SELECT agent_id, count(*)::INT AS n FROM EVENTS GROUP BY agent_id')
    expect(found.toSorted((a, b) => (String(a['agent_id']) < String(b['agent_id']) ? -1 : 1))).toEqual(
      HOSTILE.toSorted().map((agent_id) => ({ agent_id, n: 1 })),
    )
    expect(manifest?.tables.events.files.map(({ agent }) => agent).toSorted()).toEqual(HOSTILE.toSorted())
    const paths = manifest?.tables.events.files.map(({ path }) => path.toLowerCase()) ?? []
    expect(new Set(paths).size).toBe(HOSTILE.length)
    for (const path of paths)
      expect(path).toMatch(/^events\/day=[\d-]+\/agent=[\w.%~-]{1,241}\/1-[0-9a-f]{16}\.parquet$/)
  })

  it('exports one agent, by the time of the log', async () => {
    const trail = await tests.newTrail()
    await seedEvents(
      trail.server,
      rows(0, 6, { log_time: '2026-11-23 23:59:59.999', timestamp: '2026-01-01 00:00:00' }),
    )
    await seedEvents(trail.server, rows(6, 9))
    const directory = makeTempDirectory()
    const until = new Date('2026-11-24')
    const { manifest } = await exportTrail(trail, { since: SINCE, until, by: 'log_time', agent: 'billing', directory })
    expect(manifest?.tables.events.files).toMatchObject([{ day: '2026-11-23', agent: 'billing', rows: 2 }])
    expect(await offsets(directory)).toEqual(['0/0', '0/3'])
  })

  it('an export of nothing leaves nothing', async () => {
    const trail = await tests.newTrail()
    const directory = join(makeTempDirectory(), 'none')
    const options = { since: SINCE, until: UNTIL, directory }
    expect((await exportTrail(trail, options)).manifest).toBeUndefined()
    await seedEvents(trail.server, rows(0, 3, { timestamp: '2025-01-01 00:00:00' }))
    expect((await exportTrail(trail, options)).manifest).toBeUndefined()
    expect(existsSync(directory)).toBe(false)
  })

  it('run again does nothing; a file that is missing, cut or changed is written again; a foreign one is named', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 30))
    const directory = makeTempDirectory()
    const options = { since: SINCE, until: UNTIL, directory }
    const { manifest } = await exportTrail(trail, options)
    const whole = tree(directory)
    expect(await exportTrail(trail, options)).toMatchObject({
      added: [],
      repaired: [],
      foreign: [],
      later: 0,
      manifest,
    })
    expect(await exportTrail(trail, { directory })).toMatchObject({ added: [], repaired: [] })
    expect(tree(directory)).toEqual(whole)
    const [missing, cut, altered] = manifest?.tables.events.files.map(({ path }) => path) ?? []
    rmSync(join(directory, missing ?? ''))
    truncateSync(join(directory, cut ?? ''), 500)
    const bytes = readFileSync(join(directory, altered ?? ''))
    bytes.writeUInt8((bytes[100] ?? 0) ^ 1, 100)
    writeFileSync(join(directory, altered ?? ''), bytes)
    mkdirSync(join(directory, 'events/day=2026-11-24/agent=x'))
    writeFileSync(join(directory, 'events/day=2026-11-24/agent=x/y.parquet'), 'no Parquet')
    const repaired = await exportTrail(trail, options)
    expect(repaired.repaired.map(({ path }) => path)).toEqual([missing, cut, altered])
    expect(repaired.foreign).toEqual(['events/day=2026-11-24/agent=x/y.parquet'])
    rmSync(join(directory, 'events/day=2026-11-24/agent=x'), { recursive: true })
    expect(await offsets(directory)).toEqual(upTo(30))
    expect(await exportTrail(trail, options)).toMatchObject({ repaired: [], foreign: [] })
  })

  it('says so where the trail no longer has the rows of a damaged file, and leaves the file as it is', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 6))
    const directory = makeTempDirectory()
    const { manifest } = await exportTrail(trail, { since: SINCE, directory })
    const path = manifest?.tables.events.files[0]?.path ?? ''
    truncateSync(join(directory, path), 300)
    await execute(trail.server, 'TRUNCATE TABLE audit_events')
    await expect(exportTrail(trail, { directory })).rejects.toMatchObject({ code: 'EXPORT_CHANGED' })
    expect(statSync(join(directory, path)).size).toBe(300)
  })

  it('refuses another range in the folder, an empty range, none, and a manifest that leads out of the folder', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 6))
    const directory = makeTempDirectory()
    await exportTrail(trail, { since: SINCE, until: UNTIL, directory })
    const refused = async (options: Partial<Parameters<typeof exportTrail>[1]>): Promise<string> =>
      exportTrail(trail, { directory, ...options }).then(
        () => 'accepted',
        (error: Error) => error.message,
      )
    expect(await refused({ since: new Date('2026-11-21') })).toContain(
      'another range (there: since 2026-11-20T00:00:00.000Z)',
    )
    expect(await refused({ agent: 'support' })).toContain('another range (there: agent open)')
    expect(await refused({ by: 'log_time' })).toContain('another range (there: clock event_time)')
    const empty = { since: UNTIL, until: SINCE, directory: makeTempDirectory() }
    expect(await refused(empty)).toContain(
      'an empty range: since 2026-11-25T00:00:00.000Z is not before until 2026-11-20',
    )
    expect(await refused({ directory: makeTempDirectory() })).toContain('needs the start of its range')
    const text = readFileSync(join(directory, 'manifest.json'), 'utf8')
    writeFileSync(join(directory, 'manifest.json'), text.replaceAll('"events/day', '"../events/day'))
    expect(await refused({})).toContain('manifest.json is no manifest of an export')
  })

  it('an update adds what was stored since, however old it is, once, also from above a gap and in a new partition', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 10))
    await seedEvents(trail.server, rows(12, 15))
    const directory = makeTempDirectory()
    const options = { since: SINCE, until: UNTIL, directory }
    const first = await exportTrail(trail, options)
    expect(first.manifest).toMatchObject({
      complete_to: [{ partition: 0, offset: 10 }],
      rounds: [{ held: [{ partition: 0, offset: 10 }] }],
    })
    const before = tree(directory)
    expect(await exportTrail(trail, { ...options, update: true })).toMatchObject({ added: [], later: 0 })
    await seedSkipped(
      trail.server,
      [10, 11].map((log_offset) => ({ log_offset, kind: 'hole' })),
    )
    await seedEvents(trail.server, rows(15, 20, { timestamp: '2026-11-20 00:00:00' }))
    await seedEvents(trail.server, rows(0, 4, { log_partition: 1 }))
    await seedEvents(trail.server, rows(20, 22, { timestamp: '2026-11-26 00:00:00' }))
    expect(await exportTrail(trail, options)).toMatchObject({ added: [], later: 12 })
    const { manifest, added } = await exportTrail(trail, { ...options, update: true })
    expect(added.reduce((sum, file) => sum + file.rows, 0)).toBe(12)
    expect(manifest).toMatchObject({ rounds: [{ round: 1 }, { round: 2 }], tables: { events: { rows: 22 } } })
    expect(manifest?.complete_to.map(({ partition, offset }) => [partition, offset])).toEqual([
      [0, 22],
      [1, 4],
    ])
    const expected = upTo(20).filter((each) => each !== '0/10' && each !== '0/11')
    expect(await offsets(directory)).toEqual([...expected, ...upTo(4, 1)])
    const { 'manifest.json': _, ...files } = before
    expect(tree(directory)).toMatchObject(files)
    expect(await exportTrail(trail, { ...options, update: true })).toMatchObject({ added: [], repaired: [], later: 0 })
  })

  it('leaves quarantined rows out, and says how many there are', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 6))
    await seedEvents(trail.server, rows(2, 3, { agent_id: 'support', output_text: 'forged', run_seq: 99 }))
    const position = { log_id: LOG_ID, partition: 0, offset: 2 }
    const found = (await rowsAt(trail, position)).find(({ run_seq }) => run_seq === 99)
    await quarantineRow(trail, position, { row: found?.row ?? '', reason: 'forged', release: false })
    const directory = makeTempDirectory()
    const { manifest } = await exportTrail(trail, { since: SINCE, directory })
    expect(manifest).toMatchObject({ rounds: [{ quarantined_rows: 1 }], tables: { events: { rows: 6 } } })
    expect(await ask(directory, `SELECT agent_id FROM EVENTS WHERE output_text = 'forged'`)).toEqual([])
    expect(await offsets(directory)).toEqual(upTo(6))
  })

  it('holds a part of a file in memory, whatever its size', async () => {
    const trail = await tests.newTrail()
    await addLarge(trail.server, 4000)
    const directory = makeTempDirectory()
    const before = memory()
    let highest = 0
    const watch = setInterval(() => (highest = Math.max(highest, memory() - before)), 5)
    const { manifest } = await exportTrail(trail, { since: new Date('2026-01-01'), directory })
    clearInterval(watch)
    expect(manifest?.tables.events.bytes).toBeGreaterThan(150e6)
    // Buffers that are done with are freed late.
    expect(highest / 2 ** 20).toBeLessThan(100)
  })

  it('an answer that is cut is no file; the next run goes on', async () => {
    const trail = await tests.newTrail()
    await addLarge(trail.server, 400)
    await using proxy = await startCuttingProxy(Number(new URL(trail.server.url).port))
    await using cut = connectAnalytics({ ...trail.server, url: `http://127.0.0.1:${proxy.port}` })
    let passed = 0
    const rule: ProxyRule = {
      answer: (bytes, connection) => {
        passed += bytes.length
        if (passed > 5e6) connection.cut()
        return bytes
      },
    }
    proxy.rules.add(rule)
    const directory = makeTempDirectory()
    const failed = exportTrail(cut, { since: new Date('2026-01-01'), directory })
    await expect(failed).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', retryable: true })
    expect(Object.keys(tree(directory))).toEqual([])
    proxy.rules.delete(rule)
    expect(await exportTrail(cut, { directory })).toMatchObject({ resumed: true, added: [{ rows: 400 }] })
    expect(await offsets(directory)).toEqual(upTo(400))
  })

  it('one folder takes one export at a time', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 6))
    const directory = makeTempDirectory()
    const runs = await Promise.allSettled([1, 2].map(() => exportTrail(trail, { since: SINCE, directory })))
    expect(runs.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(runs.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'EXPORT_BUSY' } })
    expect(await offsets(directory)).toEqual(upTo(6))
  })
})
