/** `agent-audit tail` as a process: its lines, a ClickHouse that is killed and started again, Ctrl-C, and going on. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connectAnalytics, registerLog } from '@agent-audit/analytics'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { embeddedAvailability } from '@agent-audit/stack'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { LOG_ID, type SeedRow, seedEvents, type Server, SOURCE_ID, TOPIC } from '../analytics/seed.ts'

const MAIN = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))
const availability = embeddedAvailability()

interface Running {
  readonly child: ChildProcess
  readonly lines: string[]
  readonly errors: () => string
  /** Ctrl-C. @returns the exit code. */
  interrupt(): Promise<number | null>
}

function start(args: readonly string[], variables: Record<string, string>): Running {
  const env = { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...variables }
  const node = ['--conditions=agent-audit-source', MAIN, 'tail', ...args]
  const child = spawn(process.execPath, node, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines: string[] = []
  let errors = ''
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const closed = once(child, 'close')
  const interrupt = async (): Promise<number | null> => {
    child.kill('SIGINT')
    await closed
    return child.exitCode
  }
  return { child, lines, errors: () => errors, interrupt }
}

function environment({ url, username, password, database }: Server): Record<string, string> {
  return {
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
  }
}

function rows(from: number, to: number, more: SeedRow = {}): SeedRow[] {
  return Array.from({ length: to - from }, (_, at) => ({ log_offset: from + at, run_seq: from + at, ...more }))
}

interface FoundMore {
  readonly secondsAgo?: number
  readonly agent?: string
  readonly detector?: string
  readonly severity?: string
  readonly summary?: string
}

interface Line {
  readonly event: { readonly log_offset: number; readonly log_time: string }
  readonly cursor: string
  readonly lag: { readonly since_append_ms: number; readonly behind: number }
}

const parsed = (lines: readonly string[]): Line[] => lines.map((line) => JSON.parse(line) as Line)
const offsetsOf = (lines: readonly string[]): number[] => parsed(lines).map(({ event }) => event.log_offset)
const causes = ({ lines }: Running): string[] =>
  lines.map((line) => (JSON.parse(line) as { finding: { cause: string } }).finding.cause)
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at)

describe.skipIf(!availability.available)(
  `agent-audit tail ${availability.available ? '' : availability.reason}`,
  () => {
    let trail: DataDir
    let directory: string
    let next = 0

    async function open(): Promise<void> {
      trail = await openDataDir(directory)
      await using admin = connectAnalytics(trail.admin)
      await registerLog(admin, { sourceId: SOURCE_ID, topic: TOPIC, consumerGroup: 'audit-writer' })
    }

    /** Stores `count` events at the end. @returns their offsets. */
    async function store(count: number, more: SeedRow = {}): Promise<number[]> {
      const from = next
      next += count
      await seedEvents(trail.admin, rows(from, next, more))
      return numbers(from, next)
    }

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'agent-audit-tail-'))
      await open()
      await store(3)
    })
    afterAll(async () => {
      await trail.close()
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
    })

    it('prints events as JSON with a cursor and the lag, across a kill of ClickHouse, and goes on after Ctrl-C', async () => {
      const cursor = `${LOG_ID}/0/${next}`
      const tail = start(['--json', '--after', cursor], environment(trail.reader))
      const expected = await store(4, {
        log_time: new Date(Date.now() - 5000).toISOString().replace('T', ' ').slice(0, 23),
      })
      await expect.poll(() => tail.lines.length).toBe(4)
      const [first] = parsed(tail.lines)
      expect(first).toMatchObject({ cursor: `${LOG_ID}/0/${(expected[0] ?? 0) + 1}`, lag: { behind: 3 } })
      expect(first?.lag.since_append_ms).toBeGreaterThanOrEqual(5000)
      await trail.clickhouse.kill()
      await expect.poll(tail.errors).toContain('agent-audit: ClickHouse is away, waiting: ')
      await open()
      expected.push(...(await store(5)))
      await expect.poll(() => tail.lines.length).toBe(9)
      expect(tail.errors()).toContain('agent-audit: ClickHouse is back\n')
      expect(offsetsOf(tail.lines)).toEqual(expected)
      expect(await tail.interrupt()).toBe(0)
      const behind = `${LOG_ID}/0/${next}`
      expect(tail.errors()).toMatch(`agent-audit: stopped; go on with --after ${behind}\n`)
      expect(parsed(tail.lines).at(-1)?.cursor).toBe(behind)
      const more = await store(3)
      const on = start(['--json', '--after', behind], environment(trail.reader))
      await expect.poll(() => offsetsOf(on.lines)).toEqual(more)
      expect(await on.interrupt()).toBe(0)
      // A job that has handled six events goes on with the seventh.
      const sixth = parsed(tail.lines)[5]?.cursor ?? ''
      const again = start(['--json', '--after', sixth], environment(trail.reader))
      await expect.poll(() => offsetsOf(again.lines)).toEqual([...expected.slice(6), ...more])
      expect(await again.interrupt()).toBe(0)
    })

    it('a killed ClickHouse in the middle of a stream of inserts loses no line and repeats none', async () => {
      const tail = start(['--json', '--after', `${LOG_ID}/0/${next}`], environment(trail.reader))
      const expected = await store(1)
      await expect.poll(() => tail.lines.length).toBe(1)
      for (let round = 0; round < 3; round++) {
        for (let batch = 0; batch < 3; batch++) expected.push(...(await store(2000)))
        await trail.clickhouse.kill()
        await open()
      }
      expected.push(...(await store(10)))
      await expect.poll(() => tail.lines.length).toBeGreaterThanOrEqual(expected.length)
      expect(offsetsOf(tail.lines)).toEqual(expected)
      expect(await tail.interrupt()).toBe(0)
    })

    it('prints lines for people, with hostile text as escapes, filtered', async () => {
      const tail = start(['--data-dir', directory, '--since', '1h', '--agent', 'a\u001B[31m', '--type', 'llm_call'], {})
      const recent = { log_time: new Date().toISOString().replace('T', ' ').slice(0, 23) }
      await store(1, { ...recent, agent_id: 'other' })
      await store(1, { ...recent, agent_id: 'a\u001B[31m', event_type: 'tool_call' })
      await store(1, { ...recent, agent_id: 'a\u001B[31m', output_text: 'x\u001B[2J\nforged line\u202E' })
      await expect.poll(() => tail.lines.length).toBe(1)
      expect(tail.lines[0]).toMatch(
        /^2026-11-24 10:00:00\.000 +\+\d+\.\ds {2}a\\u001b\[31m +s1 +llm_call +x\\u001b\[2J forged line\\u202e$/,
      )
      expect(await tail.interrupt()).toBe(0)
    })

    /** Stores findings, each by a cause; `secondsAgo`: when its insert began. */
    async function find(
      made: readonly string[],
      { secondsAgo = 0, ...more }: FoundMore = {},
    ): Promise<readonly string[]> {
      await using admin = connectAnalytics(trail.admin)
      const { agent = 'support', detector = 'loop.repeated_call', severity = 'high', summary = 'found' } = more
      await admin.command(
        `INSERT INTO {database:Identifier}.audit_findings (finding_id, detector, version, cause, severity, score, agent_id,
           summary, signals, evidence, thresholds, run, found_at)
         SELECT generateUUIDv4(cause), {detector:String}, 1, arrayJoin({causes:Array(String)}) AS cause, {severity:String}, 1,
           {agent:String}, {summary:String}, '[]', [], '{}', generateUUIDv4(0), now64(6) - toIntervalSecond({secondsAgo:UInt32})`,
        { causes: made, agent, detector, severity, summary, secondsAgo },
      )
      return made
    }

    it('--findings prints each finding once, across a kill of ClickHouse, and goes on after Ctrl-C', async () => {
      await find(['old'])
      const tail = start(['--findings', '--json'], environment(trail.reader))
      // It begins with what is stored from now on: ask until it has begun.
      let probes = 0
      await expect
        .poll(async () => {
          await find([`probe ${probes++}`])
          return tail.lines.length
        })
        .toBeGreaterThan(0)
      await expect.poll(() => causes(tail).at(-1)).toBe(`probe ${probes - 1}`)
      const expected = [...causes(tail)]
      expect(expected).toEqual(Array.from(expected, (_, at) => `probe ${probes - expected.length + at}`))
      await trail.clickhouse.kill()
      await expect.poll(tail.errors).toContain('agent-audit: ClickHouse is away, waiting: ')
      await open()
      expected.push(...(await find(['after the kill'])))
      await expect.poll(() => causes(tail)).toEqual(expected)
      // Its insert began before the last one that was printed.
      expected.push(...(await find(['slow'], { secondsAgo: 60 })))
      await expect.poll(() => causes(tail)).toEqual(expected)
      expect(tail.errors()).toContain('agent-audit: ClickHouse is back\n')
      expect(JSON.parse(tail.lines.at(-1) ?? '')).toMatchObject({
        lag: { behind: 0, since_found_ms: expect.any(Number) },
      })
      expect(await tail.interrupt()).toBe(0)
      const [, cursor = ''] = /go on with --after (\S+)/.exec(tail.errors()) ?? []
      const later = [...(await find(['later'])), ...(await find(['last']))]
      const on = start(['--findings', '--json', '--after', cursor], environment(trail.reader))
      await expect.poll(() => causes(on)).toEqual(later)
      expect(await on.interrupt()).toBe(0)
    })

    it('--findings prints lines for people, with hostile text as escapes, filtered', async () => {
      const filters = ['--agent', 'a\u001B[31m', '--detector', 'loop.repeated_call', '--severity', 'high']
      const tail = start(['--findings', '--since', '1h', ...filters], environment(trail.reader))
      const hostile = { agent: 'a\u001B[31m', summary: 'x\u001B[2J\nforged line\u202E' }
      await find(['of another agent'])
      await find(['of another detector'], { ...hostile, detector: 'loop.cycle' })
      await find(['milder'], { ...hostile, severity: 'medium' })
      await find(['hostile'], hostile)
      await expect.poll(() => tail.lines.length).toBe(1)
      expect(tail.lines[0]).toMatch(
        /^\S+ \S+ +\+\d+\.\ds {2}high +loop\.repeated_call +a\\u001b\[31m +x\\u001b\[2J forged line\\u202e {2}[0-9a-f-]{36}$/,
      )
      expect(await tail.interrupt()).toBe(0)
    })

    it.each([
      [['--severity', 'high'], /--severity needs --findings/],
      [['--detector', 'loop.cycle'], /--detector needs --findings/],
      [['--findings', '--type', 'llm_call'], /--type is of events/],
      [['--findings', '--after', `${LOG_ID}/0/1`], /expected the cursor that tail --findings has printed/],
      [['--findings', '--severity', 'grave'], /Allowed choices are info, low, medium, high, critical/],
      [['--findings', '--detector', 'loop.repeated_cal'], /no such detector; did you mean loop\.repeated_call\?/],
    ])('%j is wrong use', async (args, message) => {
      const wrong = start(args, environment(trail.reader))
      await once(wrong.child, 'close')
      expect([wrong.child.exitCode, wrong.errors()]).toEqual([64, expect.stringMatching(message)])
    })

    it('refuses a cursor that is none, and --since beside --after', async () => {
      const wrong = start(['--after', 'x/1'], environment(trail.reader))
      await once(wrong.child, 'close')
      expect([wrong.child.exitCode, wrong.errors()]).toEqual([
        64,
        expect.stringContaining('expected the cursor that tail'),
      ])
      const both = start(['--after', `${LOG_ID}/0/1`, '--since', '1h'], environment(trail.reader))
      await once(both.child, 'close')
      expect([both.child.exitCode, both.errors()]).toEqual([64, expect.stringContaining('exclude each other')])
    })
  },
)
