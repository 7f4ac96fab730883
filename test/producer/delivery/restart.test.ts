/** Delivery that fails unexpectedly: it is started again on the same spools. */
import { join } from 'node:path'
import { openEmbeddedLog } from '@agent-audit/spool'
import { describe, expect, it, vi } from 'vitest'
import { startChild, startChildWith } from '../process/run-program.ts'
import { explainedBy, gapsOf, openTrail, readRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import type { Child } from '../../support/printing-program.ts'

const MODULE = new URL('fail-delivery.ts', import.meta.url)
const RESTARTED = 'DELIVERY_RESTARTED'

/** Starts a program whose delivery fails; the topic exists. */
function startFailing(dataDir: string, where: string, { workers = true, how = '1' } = {}): Child {
  const log = openEmbeddedLog({ directory: dataDir })
  log.createTopic('audit.events', 4)
  log.close()
  vi.stubEnv('FAIL_DELIVERY', where)
  return startChildWith({ module: MODULE, workers }, 'fail-delivery', dataDir, how)
}

/** The events of the program by their outcomes: what `stored` and `acked` of their receipts said. */
function outcomesOf(child: Child): Map<string, string[]> {
  const said = child.lines.map((line) => line.split(' ')).filter(([id = '']) => /^[0-9a-f-]{36}$/.test(id))
  const byOutcome = Map.groupBy(said, ([, stored, acked]) => `${stored} ${acked}`)
  return new Map([...byOutcome].map(([outcome, lines]) => [outcome, lines.map(([id = '']) => id)]))
}

function problemsOf(child: Child, code: string): string[] {
  return child.lines.filter((line) => line.startsWith(`${code} `))
}

describe('delivery that fails', () => {
  it.each([
    ['taken 5 1', 'before it has stored a chunk', true],
    ['stored 5 1', 'before it has said that it has stored a chunk', true],
    ['sent 3 1', 'before it has said that the log has a batch', true],
    ['trimmed 1 1', 'after it has trimmed its spool', true],
    ['taken 5 1', 'before it has stored a chunk, on the only thread', false],
    ['stored 5 1', 'before it has said that it has stored a chunk, on the only thread', false],
    ['sent 3 1', 'before it has said that the log has a batch, on the only thread', false],
  ])('%s: %s (workers: %s) goes on, and each receipt says what became of its event', async (where, _, workers) => {
    const dataDir = makeTempDirectory()
    const child = startFailing(dataDir, where, { workers })
    expect(await child.exited()).toMatchObject({ code: 0 })
    expect(problemsOf(child, RESTARTED)).toEqual([expect.stringMatching(/started again \(1 of .*a fault of the test/)])
    const rows = readRows(dataDir)
    const present = new Set(rows.map(({ event_id }) => event_id))
    const outcomes = outcomesOf(child)
    const { 'yes yes': kept = [], [`${RESTARTED} ${RESTARTED}`]: lost = [], ...others } = Object.fromEntries(outcomes)
    expect(others).toEqual({})
    expect(kept.length).toBeGreaterThanOrEqual(20)
    expect(kept.filter((id) => !present.has(id))).toEqual([])
    expect(lost.filter((id) => present.has(id))).toEqual([])
    // Lost too: what was posted before this thread knew that the other one had ended.
    if (where.startsWith('taken')) expect(lost.length).toBeGreaterThan(0)
    expect(rows.at(-1)?.event_type).toBe('trail_stopped')
    expect(explainedBy(rows)).toEqual(gapsOf(rows))
  })

  it('at an acknowledged batch sends it again: the same records to the same partition, which the consumer drops', async () => {
    const dataDir = makeTempDirectory()
    await startFailing(dataDir, 'sent 1 1').exited()
    const rows = readRows(dataDir)
    const copies = [...Map.groupBy(rows, ({ run_seq }) => run_seq).values()].filter(({ length }) => length > 1)
    expect(copies.length).toBeGreaterThan(0)
    for (const [first, ...more] of copies) {
      for (const copy of more) expect({ ...copy, offset: 0 }).toEqual({ ...first, offset: 0 })
    }
  })

  it('while another owner has its spool, leaves open what became of the chunks in it', async () => {
    const dataDir = makeTempDirectory()
    const child = startFailing(dataDir, 'stored 5 1', { how: '1 disk hold' })
    expect(await child.exited()).toMatchObject({ code: 0 })
    const rows = readRows(dataDir)
    const present = new Set(rows.map(({ event_id }) => event_id))
    const said = outcomesOf(child)
    expect((said.get('yes yes') ?? []).filter((id) => !present.has(id))).toEqual([])
    expect((said.get(`${RESTARTED} ${RESTARTED}`) ?? []).filter((id) => present.has(id))).toEqual([])
    expect([...said.keys()].filter((outcome) => outcome.startsWith('yes'))).toEqual(['yes yes'])
    expect(explainedBy(rows)).toEqual(gapsOf(rows))
  })

  it('without a spool loses what was not acknowledged: receipts and an event say so, and the trail goes on', async () => {
    const dataDir = makeTempDirectory()
    const child = startFailing(dataDir, 'sent 3 1', { how: '1 memory' })
    expect(await child.exited()).toMatchObject({ code: 0 })
    const rows = readRows(dataDir)
    const present = new Set(rows.map(({ event_id }) => event_id))
    const acked = outcomesOf(child).get('yes yes') ?? []
    expect(acked.length).toBeGreaterThanOrEqual(20)
    expect(acked.filter((id) => !present.has(id))).toEqual([])
    // Some of the lost events may be in the topic.
    const gaps = gapsOf(rows)
    const explained = explainedBy(rows)
    expect(gaps.filter((seq) => !explained.includes(seq))).toEqual([])
    expect(explained.length).toBeGreaterThan(0)
    expect(rows).toHaveLength(new Set(rows.map(({ run_seq }) => run_seq)).size)
  })

  it('on an explanation too explains the same events again', async () => {
    const dataDir = makeTempDirectory()
    // The second delivery fails at the first chunk after its report, which explains the loss of the first.
    const child = startFailing(dataDir, 'taken 1 2', { how: '2' })
    expect(await child.exited()).toMatchObject({ code: 0 })
    const rows = readRows(dataDir)
    expect(gapsOf(rows).length).toBeGreaterThan(2)
    expect(explainedBy(rows)).toEqual(gapsOf(rows))
  })

  it.each([true, false])(
    'too often ends the trail (workers: %s): the next one sends what was stored',
    async (workers) => {
      const dataDir = makeTempDirectory()
      const child = startFailing(dataDir, 'stored 3 4', { workers, how: '3' })
      expect(await child.exited()).toMatchObject({ code: 0 })
      expect(problemsOf(child, RESTARTED)).toHaveLength(3)
      expect(problemsOf(child, 'SPOOL_UNAVAILABLE')[0]).toMatch(/delivery has stopped: a fault of the test/)
      const stored = [...outcomesOf(child)].flatMap(([outcome, ids]) => (outcome.startsWith('yes') ? ids : []))
      const next = openTrail({ dataDir, spoolDir: join(dataDir, 'spool') })
      await expect.poll(() => next.stats().spoolBytes === 0 && next.stats().connected, { timeout: 20_000 }).toBe(true)
      const present = new Set(readRows(dataDir).map(({ event_id }) => event_id))
      expect(stored.filter((id) => !present.has(id))).toEqual([])
    },
  )
})

describe('in the pause before delivery starts again', () => {
  it.each(['exit', 'close', 'close at once'])('%s keeps what is recorded', async (how) => {
    const dataDir = makeTempDirectory()
    const child = startChild('end-in-restart', dataDir, how)
    expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
    if (how === 'close') expect(child.lines).toEqual(['pending none'])
    if (how === 'close at once') expect(child.lines).toHaveLength(1)
    const trail = openTrail({ dataDir, spoolDir: join(dataDir, 'spool') })
    await expect.poll(() => trail.stats().spoolBytes === 0 && trail.stats().connected, { timeout: 20_000 }).toBe(true)
    const run = readRows(dataDir).filter((row) => row['run_id'] !== trail.runId)
    const decisions = run.filter(({ event_type }) => event_type === 'decision')
    expect(new Set(decisions.map(({ run_seq }) => run_seq)).size).toBe(6)
    expect(gapsOf(run)).toEqual([])
  })
})

it('spoolMaxBytes bounds the spools of a run together, also that of a delivery that has failed', async () => {
  const child = startChild('fill-after-restart', makeTempDirectory())
  expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
  const bytes = Number(child.lines[0])
  expect(bytes).toBeGreaterThan(2 ** 19)
  expect(bytes).toBeLessThanOrEqual(2 ** 20)
})
