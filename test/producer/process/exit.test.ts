import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { startChild, startChildWithoutWorkers } from './run-program.ts'
import { openTrail, readRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

it.each([
  ['exit', { code: 3, signal: null }],
  ['throw', { code: 1, signal: null }],
  ['SIGTERM', { code: null, signal: 'SIGTERM' }],
  ['SIGINT', { code: null, signal: 'SIGINT' }],
  ['other-listener', { code: 7, signal: null }],
  ['once-listener', { code: 7, signal: null }],
  ['second-copy', { code: null, signal: 'SIGTERM' }],
])(
  'events recorded right before the process ends by %s are on disk, and it ends as it would without a trail',
  async (how, exit) => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    const child = startChild('record-and-end', dataDir, how)
    expect(await child.exited()).toMatchObject(exit)
    const trail = openTrail({ dataDir, spoolDir })
    await expect.poll(() => trail.stats().adopted, { timeout: 20_000 }).toBe(702)
    const rows = readRows(dataDir).filter((row) => row['run_id'] !== trail.runId)
    expect(rows.map((row) => row.run_seq)).toEqual(Array.from({ length: 702 }, (_, seq) => seq))
  },
)

it('recorded events are on disk when the process ends after a close that did not wait for delivery to start', async () => {
  const dataDir = makeTempDirectory()
  expect(await startChild('slow-start', dataDir).exited()).toMatchObject({ code: 0, stderr: '' })
  const trail = openTrail({ dataDir, spoolDir: join(dataDir, 'spool') })
  await expect.poll(() => trail.stats().adopted, { timeout: 20_000 }).toBe(4)
})

it('a process that runs out of work sends its recorded events and ends', async () => {
  const dataDir = makeTempDirectory()
  expect(await startChild('run-out', dataDir).exited()).toMatchObject({ code: 0, stderr: '' })
  expect(readRows(dataDir).map((row) => row.event_type)).toEqual(['trail_started', 'session_start', 'decision'])
})

it('a process that waits for a receipt lives until the receipt resolves, and then ends', async () => {
  const child = startChild('await-receipt', makeTempDirectory())
  expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
  expect(child.lines).toEqual(['acknowledged'])
})

it('without worker threads a trail records the same events on the only thread', async () => {
  const dataDir = makeTempDirectory()
  const child = startChildWithoutWorkers('await-receipt', dataDir)
  expect(await child.exited()).toMatchObject({ code: 0 })
  expect(child.lines).toEqual(['acknowledged'])
  expect(readRows(dataDir).map((row) => row.event_type)).toEqual(['trail_started', 'session_start', 'decision'])
})

it('an unreachable broker keeps no finished process alive', async () => {
  const dataDir = makeTempDirectory()
  const started = performance.now()
  const child = startChild('record-and-end', dataDir)
  expect(await child.exited()).toMatchObject({ code: 0, signal: null })
  expect(performance.now() - started).toBeLessThan(15_000)
})

const count = (): number => process.listenerCount('SIGTERM') + process.listenerCount('exit')

it('open trails share listeners for signals, and the last trail to close removes them', async () => {
  const before = count()
  const trails = [1, 2, 3].map(() => openTrail({ dataDir: makeTempDirectory(), handleExit: true }))
  expect(count()).toBe(before + 2)
  await Promise.all(trails.map((trail) => trail.close()))
  await vi.waitFor(() => expect(count()).toBe(before))
})

it('a busy thread that notices the end of delivery late gets no problem', async () => {
  const problems: unknown[] = []
  const trail = openTrail({ dataDir: makeTempDirectory(), onProblem: (problem) => problems.push(problem) })
  trail.startSession({ session_id: 's1' }).decision({ reasoning: 'the last one' })
  const closed = trail.close()
  const state = { closed: false }
  void closed.then(() => (state.closed = true))
  const idle = new Int32Array(new SharedArrayBuffer(4))
  while (!state.closed) {
    // Delivery's last report and its exit arrive together then.
    Atomics.wait(idle, 0, 0, 100)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await closed).toEqual({ acked: 4, pending: 0, refused: 0 })
  expect(problems).toEqual([])
})
