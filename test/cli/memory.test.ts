/** The memory of `verify` and `trail`: bounded, whatever the number of runs and the size of a session. ClickHouse makes the rows. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import { beforeAll, describe, expect, it } from 'vitest'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'

const COMMAND = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
/** Sizes that a test can afford; for 10 million runs and a session of 1 million events, set the variables. */
const RUNS = Number(process.env['MEMORY_TEST_RUNS'] ?? 600_000)
const SESSION_EVENTS = Number(process.env['MEMORY_TEST_EVENTS'] ?? 100_000)
/** With the whole session and a report of each run in memory, these sizes took 387 to 817 MB; without, 140 to 175 MB. The sizes of the variables: 267 MB. */
const MOST_MB = 300
const ROWS_AN_INSERT = 1_000_000
const NO_DEADLINE = '9000000000000 9000000000000'

/** For both processes of the command. */
const REPORT_MEMORY = encodeURIComponent(
  `process.on('exit', () => process.stderr.write('peak ' + process.resourceUsage().maxRSS + ' KB\\n'))`,
)

describe.skipIf(NO_CLICKHOUSE !== undefined)(`memory ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  let trail: Awaited<ReturnType<TestServer['newTrail']>>
  beforeAll(async () => {
    tests = await startTestServer()
    trail = await tests.newTrail()
    // Runs of one event, each in a session of its own; then one run with one large session.
    const own = { run: 'reinterpretAsFixedString(toUInt128(number + 1))', seq: '0', session: 'toString(number)' }
    const large = { run: `unhex(repeat('f', 32))`, seq: `number - ${RUNS}`, session: `'large'` }
    await addRows(0, RUNS, own)
    await addRows(RUNS, SESSION_EVENTS, large)
  }, 900_000)

  async function addRows(
    from: number,
    count: number,
    { run, seq, session }: Record<'run' | 'seq' | 'session', string>,
  ): Promise<void> {
    for (let start = from; start < from + count; start += ROWS_AN_INSERT) {
      await trail.command(
        `INSERT INTO {database:Identifier}.${EVENTS_TABLE} (run_id, run_seq, producer_id, session_seq, retention_class,
           event_id, timestamp, event_type, session_id, agent_id, step_number, output_text, content, requires_approval, log_id,
           log_partition, log_offset, log_time, writer_schema)
         SELECT ${run}, ${seq}, 'seed', ${seq}, 'default', generateUUIDv7(number),
           toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + toIntervalMicrosecond(number * 10), 'llm_call', ${session}, 'agent', 0,
           repeat('answer ', 100), '{"request":{"temperature":0}}', false, 'seededby', 0, number,
           toDateTime64('2026-01-01 00:00:00', 3, 'UTC'), 1
         FROM numbers({start:UInt64}, {count:UInt64}) SETTINGS log_comment = '${NO_DEADLINE}'`,
        { start, count: Math.min(ROWS_AN_INSERT, from + count - start) },
      )
    }
  }

  /** Runs the real command. `text` has the first and last characters of its output only. */
  async function measure(args: readonly string[]): Promise<{ code: number; text: string; megabytes: number }> {
    const { url, username, password, database } = trail.server
    const environment = {
      NODE_OPTIONS: `--import=data:text/javascript,${REPORT_MEMORY}`,
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
    }
    const startedAt = performance.now()
    const child = spawn(process.execPath, [COMMAND, ...args], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [first, last, err] = ['', '', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      first ||= text.slice(0, 500)
      last = `${last}${text}`.slice(-500)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    const [code] = (await once(child, 'close')) as [number]
    const peaks = Array.from(err.matchAll(/^peak (\d+) KB$/gm), ([, peak]) => Number(peak))
    expect(peaks).toHaveLength(2)
    const kilobytes = Math.max(...peaks)
    if (process.env['MEMORY_TEST_RUNS'] !== undefined)
      process.stdout.write(`${args.join(' ')}: ${kilobytes / 1000} MB, ${(performance.now() - startedAt) / 1000} s\n`)
    return { code, text: `${first}\n...\n${last}`, megabytes: kilobytes / 1000 }
  }

  it.each([
    [['verify', '--completeness'], /^COMPLETE {2}/],
    [['verify', '--completeness', '--json'], /^\{"runs":\[\{.*"verdict":"complete".*\}\n$/s],
    [['trail', 'large', '--json'], /^\[\{.*\}\]\n$/s],
    [['trail', 'large'], /^session large · .* events.*\n$/s],
  ])(
    '%j',
    async (args, output) => {
      const { code, text, megabytes } = await measure(args)
      expect(text).toMatch(output)
      expect(code).toBe(0)
      expect(megabytes).toBeLessThan(MOST_MB)
    },
    900_000,
  )
})
