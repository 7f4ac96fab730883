/** The spools' directory is removed under a running trail, as cleaners of temporary directories do, while the broker is away. */
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TrailError } from '@agent-audit/producer'
import { describe, expect, it, vi } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { startApp } from '../process/run-program.ts'
import { gapsOf, NO_BROKER, openTrail, type Row, readRows } from '../support.ts'

/** Sends what a dead run has left. @returns Its rows. */
async function drain(spoolDir: string): Promise<Row[]> {
  const dataDir = makeTempDirectory()
  const next = openTrail({ dataDir, spoolDir })
  await expect.poll(() => next.stats().spoolBytes === 0 && next.stats().adopted > 0, { timeout: 20_000 }).toBe(true)
  return readRows(dataDir).filter((row) => row['run_id'] !== next.runId)
}

function spoolsIn(spoolDir: string): string[] {
  return readdirSync(join(spoolDir, 'audit.events')).filter((name) => name.endsWith('.spool'))
}

describe('the directory of the spools is removed', () => {
  it('and nothing can be made in its place: a guard does not run its tool until a new spool holds the record', async () => {
    const spoolDir = join(makeTempDirectory(), 'spool')
    const problems: TrailError[] = []
    const trail = openTrail({ ...NO_BROKER, spoolDir, onProblem: (problem) => problems.push(problem) })
    const session = trail.startSession({ session_id: 's1' })
    const run = vi.fn<(input: number) => void>()
    await session.guard({ tool_name: 'pay', tool_input: 1 }, run)
    rmSync(spoolDir, { recursive: true })
    writeFileSync(spoolDir, '')
    const refused = session.guard({ tool_name: 'pay', tool_input: 2 }, run, { timeoutMs: 300 })
    await expect(refused).rejects.toMatchObject({ code: 'NOT_RECORDED' })
    expect(run.mock.calls).toEqual([[1]])
    expect(problems).toContainEqual(expect.objectContaining({ code: 'SPOOL_UNAVAILABLE' }))
    rmSync(spoolDir)
    await session.guard({ tool_name: 'pay', tool_input: 3 }, run, { timeoutMs: 30_000 })
    expect(run.mock.calls).toEqual([[1], [3]])
    expect(spoolsIn(spoolDir)).toHaveLength(1)
    await trail.close({ timeoutMs: 0 })
    const rows = await drain(spoolDir)
    expect(gapsOf(rows)).toEqual([])
    expect(rows.filter(({ event_type }) => event_type === 'tool_call')).toHaveLength(3)
  })

  it('while nothing is recorded: a second later the operator is told, and everything stored is on disk again', async () => {
    const spoolDir = join(makeTempDirectory(), 'spool')
    const problems: string[] = []
    const trail = openTrail({ ...NO_BROKER, spoolDir, onProblem: ({ message }) => problems.push(message) })
    const session = trail.startSession({ session_id: 's1' })
    await session.decision({ reasoning: 'before' }).stored
    renameSync(spoolDir, `${spoolDir}.old`)
    await expect.poll(() => problems.join('\n')).toMatch(/\.spool was removed, renamed or replaced; its events are in /)
    expect(spoolsIn(spoolDir)).toHaveLength(1)
    await trail.close({ timeoutMs: 0 })
    expect((await drain(spoolDir)).map(({ event_type }) => event_type)).toContain('decision')
  })

  it('and the process is killed after the notice: no tool has run whose call is lost', async () => {
    const spoolDir = join(makeTempDirectory(), 'spool')
    const app = startApp('removed-spool.ts', spoolDir)
    await app.printed(30)
    rmSync(spoolDir, { recursive: true })
    await expect.poll(() => app.lines, { timeout: 10_000 }).toContain('SPOOL_UNAVAILABLE')
    await app.printed(app.lines.length + 5)
    await app.kill('SIGKILL')
    const ran = app.lines.flatMap((line) => /^ran (\d+)$/.exec(line)?.[1] ?? []).map(Number)
    const rows = await drain(spoolDir)
    const calls = rows.filter(({ event_type }) => event_type === 'tool_call')
    expect(calls.map((row) => (row['tool_input'] as { count: number }).count)).toEqual(expect.arrayContaining(ran))
    expect(gapsOf(rows)).toEqual([])
  })

  it('with the broker there: events under way arrive once, from memory, and the trail goes on', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(makeTempDirectory(), 'spool')
    const trail = openTrail({ dataDir, spoolDir, onProblem: () => {} })
    const session = trail.startSession({ session_id: 's1' })
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 50; index++) session.decision({ reasoning: `${round} ${index}` })
      rmSync(spoolDir, { recursive: true, force: true })
      await session.decision({ reasoning: 'last of a round' }).stored
    }
    expect(await trail.close()).toMatchObject({ pending: 0, refused: 0 })
    const rows = readRows(dataDir)
    expect(rows.map(({ run_seq }) => run_seq)).toEqual(rows.map((_, index) => index))
    expect(spoolsIn(spoolDir)).toEqual([])
  })
})
