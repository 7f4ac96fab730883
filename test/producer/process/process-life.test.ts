/** The kinds of programs that use a trail, as real processes: they load the package, share a directory, and end. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startApp } from './run-program.ts'
import { openTrail, readRows, type Row } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

/** No broker listens there. */
const UNREACHABLE = '127.0.0.1:1'
const EVENTS = 300

function typesOf(rows: readonly Row[]): string[] {
  return rows.map((row) => row.event_type)
}

/** The run_seqs of each run, by its producer_id. Records that an adopted run has sent twice count once. */
function readRuns(dataDir: string): Map<string, number[]> {
  const rows = Map.groupBy(readRows(dataDir), (row) => String(row['producer_id']))
  return new Map(
    Array.from(rows, ([name, own]) => {
      expect(new Set(own.map((row) => row['run_id'])).size).toBe(1)
      return [name, [...new Set(own.map((row) => row.run_seq))]]
    }),
  )
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, seq) => seq)

it('the package loads in CommonJS by require()', async () => {
  const dataDir = makeTempDirectory()
  const child = startApp('common-js.cjs', dataDir)
  expect(await child.exited()).toEqual({ code: 0, signal: null, stderr: '' })
  expect(child.lines).toEqual(['pending 0'])
  expect(typesOf(readRows(dataDir))).toEqual(['trail_started', 'session_start', 'decision', 'trail_stopped'])
})

it.each([
  ['at its end', '', 0],
  ['by a throw', 'throw', 1],
])('`await using` closes the trail when its scope is left %s', async (_, how, code) => {
  const dataDir = makeTempDirectory()
  expect(await startApp('using.ts', dataDir, how).exited()).toMatchObject({ code, signal: null })
  expect(typesOf(readRows(dataDir))).toEqual(['trail_started', 'session_start', 'decision', 'trail_stopped'])
})

describe.each(['cluster', 'threads'])('an application with several members: %s', (how) => {
  it.each([
    ['closes its trail', 'close'],
    ['calls process.exit', 'exit'],
    ['runs out of work', 'run-out'],
  ])('each member that %s records a complete trail in the shared directory', async (_, end) => {
    const dataDir = makeTempDirectory()
    expect(await startApp('many.ts', how, '3', dataDir, end).exited()).toEqual({ code: 0, signal: null, stderr: '' })
    // Events that were only on disk when a member called process.exit go out with the next run.
    const next = openTrail({ dataDir, agentId: 'next' })
    expect(await next.close()).toMatchObject({ pending: 0 })
    const runs = readRuns(dataDir)
    expect(runs.size).toBe(5)
    for (const [name, seqs] of runs) {
      const stopped = name === 'first' || end === 'close' ? 1 : 0
      expect({ name, seqs }).toEqual({ name, seqs: upTo(name === 'next' ? 2 : EVENTS + 2 + stopped) })
    }
  })

  it('without a broker each member keeps its own spool, and a later run sends all of them', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    expect(await startApp('many.ts', how, '3', dataDir, 'close', UNREACHABLE).exited()).toMatchObject({ code: 0 })
    expect(readRows(dataDir)).toEqual([])
    const next = openTrail({ dataDir, spoolDir, agentId: 'next' })
    await expect.poll(() => next.stats().adopted, { timeout: 20_000 }).toBe(4 * (EVENTS + 3))
    const runs = readRuns(dataDir)
    runs.delete('next')
    expect(runs.size).toBe(4)
    for (const [name, seqs] of runs) expect({ name, seqs }).toEqual({ name, seqs: upTo(EVENTS + 3) })
  })
})

it('a terminated thread leaves its spool to the next trail of the same process', async () => {
  const dataDir = makeTempDirectory()
  const child = startApp('terminated.ts', dataDir, UNREACHABLE)
  expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
  expect(child.lines).toEqual(['stored', `adopted ${EVENTS + 2}`])
  expect(readRuns(dataDir).get('thread')).toEqual(upTo(EVENTS + 2))
})

it('for serverless: flush resolves in time with the number of pending events, and these outlive the process', async () => {
  const dataDir = makeTempDirectory()
  const spoolDir = join(dataDir, 'spool')
  const child = startApp('serverless.ts', dataDir, UNREACHABLE)
  const invoked = async (times: number): Promise<Record<string, number>> => {
    await child.printed(times)
    return JSON.parse(child.lines[times - 1] ?? '') as Record<string, number>
  }
  const first = await invoked(1)
  expect(first).toMatchObject({ acked: 0, pending: 3, refused: 0 })
  expect(first['tookMs']).toBeLessThan(5000)
  // The platform freezes the process, thaws it for the next call, and in the end kills the frozen process.
  await child.kill('SIGSTOP')
  await child.kill('SIGUSR2')
  await child.kill('SIGCONT')
  expect(await invoked(2)).toMatchObject({ acked: 0, pending: 5, refused: 0 })
  await child.kill('SIGSTOP')
  await child.kill('SIGKILL')
  const next = openTrail({ dataDir, spoolDir, agentId: 'next' })
  await expect.poll(() => next.stats().adopted, { timeout: 20_000 }).toBe(5)
  expect(readRuns(dataDir).get('function')).toEqual(upTo(5))
})
