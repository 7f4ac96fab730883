/** The notebooks over a real export: they run to their end, and their answers are those of the trail. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { exportTrail, sessions } from '@agent-audit/analytics'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { execute, type SeedRow, seedEvents, type Server } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { draw, takeSeed } from '../support/seed.ts'
import { findPython } from './python.ts'

const NOTEBOOKS = fileURLToPath(new URL('../../examples/notebooks/', import.meta.url))
const python = NO_CLICKHOUSE === undefined ? findPython() : { missing: NO_CLICKHOUSE }
if (python.missing !== undefined) process.stderr.write(`the notebook in Python does not run: ${python.missing}\n`)
const EVENTS = 1500

const NOTEBOOK = [
  { name: 'duckdb.ts', program: process.execPath, missing: NO_CLICKHOUSE },
  { name: 'polars_notebook.py', program: python.missing === undefined ? python.python : '', missing: python.missing },
]

/** Events of a few agents with hostile names over a week, with all that the notebooks ask for, and some of it missing. */
function fleet(seed: number): SeedRow[] {
  const tokens = fc.option(fc.integer({ min: 0, max: 5000 }), { nil: null })
  const event = fc.record({
    agent_id: fc.constantFrom('support', 'billing', '007', '../up', 'Ünï=*', ''),
    event_type: fc.constantFrom('llm_call', 'tool_call', 'tool_result', 'session_end', 'error'),
    session: fc.integer({ min: 0, max: 40 }),
    day: fc.integer({ min: 20, max: 26 }),
    outcome: fc.constantFrom('success', 'denied', 'blocked', 'error', null),
    error: fc.constantFrom(null, null, 'failed'),
    tool_name: fc.constantFrom('search', 'refund', 'mail', null),
    execution_time_ms: tokens,
    input_tokens: tokens,
    output_tokens: tokens,
  })
  return draw(event, EVENTS, seed).map(({ session, day, ...row }, at) => ({
    ...row,
    session_id: session === 0 ? 'trail:1' : `S${session}`,
    timestamp: `2026-11-${day} 10:00:00`,
    log_offset: at,
    run_seq: at,
  }))
}

async function rowsOf(server: Server, query: string): Promise<unknown> {
  const text = await execute(server, `${query} FORMAT JSON`, { output_format_json_quote_64bit_integers: '0' })
  return (JSON.parse(text) as { data: unknown }).data
}

async function answersOf(trail: Awaited<ReturnType<TestServer['newTrail']>>): Promise<Record<string, unknown>> {
  const found = await sessions(trail, { limit: 1000 })
  const named = `FROM audit_events WHERE NOT startsWith(session_id, 'trail:')`
  return {
    tokens: await rowsOf(
      trail.server,
      `SELECT agent_id, toString(toDate(timestamp)) AS day, toFloat64(sum(input_tokens)) AS input_tokens,
         toFloat64(sum(output_tokens)) AS output_tokens ${named} GROUP BY agent_id, day ORDER BY agent_id, day`,
    ),
    tools: await rowsOf(
      trail.server,
      `SELECT tool_name, count() AS calls, round(quantileExactInclusive(0.95)(execution_time_ms), 3) AS p95_ms ${named}
         AND event_type = 'tool_result' AND execution_time_ms IS NOT NULL GROUP BY tool_name ORDER BY p95_ms DESC, tool_name`,
    ),
    refused: await rowsOf(
      trail.server,
      `SELECT session_id, count() AS refused, arraySort(groupUniqArray(tool_name)) AS tools ${named}
         AND outcome IN ('denied', 'blocked') GROUP BY session_id ORDER BY refused DESC, session_id`,
    ),
    sessions: found
      .map(({ session_id, events, llm_calls, tool_calls, errors }) => ({
        session_id,
        events,
        llm_calls,
        tool_calls,
        errors,
      }))
      .toSorted((a, b) => (a.session_id < b.session_id ? -1 : 1)),
  }
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`notebooks ${NO_CLICKHOUSE ?? ''}`, () => {
  let directory: string
  let expected: Record<string, unknown>
  beforeAll(async () => {
    const trail = await (await startTestServer()).newTrail()
    const rows = fleet(takeSeed('notebooks'))
    const outer = mkdtempSync(join(tmpdir(), 'agent-audit-notebooks-'))
    afterAll(() => rmSync(outer, { recursive: true, force: true }))
    directory = join(outer, `it's an export`)
    // Two rounds: a notebook reads the files of both.
    await seedEvents(trail.server, rows.slice(0, 1000))
    await exportTrail(trail, { since: new Date('2026-11-20'), directory })
    await seedEvents(trail.server, rows.slice(1000))
    await exportTrail(trail, { directory, update: true })
    expected = await answersOf(trail)
  })

  describe.each(NOTEBOOK)('$name', ({ name, program, missing }) => {
    const run = (...more: string[]): Promise<{ stdout: string }> =>
      promisify(execFile)(program, [join(NOTEBOOKS, name), directory, ...more])

    it.skipIf(missing !== undefined)(`answers as the trail does ${missing ?? ''}`, async () => {
      const found = JSON.parse((await run('--json')).stdout) as Record<string, Record<string, unknown>[]>
      expect(found['tokens']).toEqual(expected['tokens'])
      expect(found['tools']).toEqual(expected['tools'])
      expect(found['sessions']).toEqual(expected['sessions'])
      expect(found['refused']).toMatchObject(expected['refused'] as object[])
      expect((await run()).stdout).toMatch(/^tokens \(\d+\)\n {2}\{"agent_id": ?""/)
    })

    it.skipIf(missing !== undefined)(`gives no answer from an export that is not whole ${missing ?? ''}`, async () => {
      const path = join(directory, 'manifest.json')
      const text = readFileSync(path, 'utf8')
      writeFileSync(path, text.replace(`"rows": ${EVENTS}`, `"rows": ${EVENTS + 1}`))
      const stderr = expect.stringContaining(`its manifest says ${EVENTS + 1}`) as string
      await expect(run()).rejects.toMatchObject({ stderr })
      writeFileSync(path, text)
    })
  })
})
