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
  'what was recorded right before the process ends by %s is on disk, and the exit is as without us',
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

it('what was recorded is on disk when the process ends after a close that could not wait for delivery to start', async () => {
  const dataDir = makeTempDirectory()
  expect(await startChild('slow-start', dataDir).exited()).toMatchObject({ code: 0, stderr: '' })
  const trail = openTrail({ dataDir, spoolDir: join(dataDir, 'spool') })
  await expect.poll(() => trail.stats().adopted, { timeout: 20_000 }).toBe(4)
})

it('a process with nothing left to do sends what it has recorded and ends', async () => {
  const dataDir = makeTempDirectory()
  expect(await startChild('run-out', dataDir).exited()).toMatchObject({ code: 0, stderr: '' })
  expect(readRows(dataDir).map((row) => row.event_type)).toEqual(['trail_started', 'session_start', 'decision'])
})

it('a process that waits for a receipt lives until it is resolved, and then ends', async () => {
  const child = startChild('await-receipt', makeTempDirectory())
  expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
  expect(child.lines).toEqual(['acknowledged'])
})

it('without worker threads the same is recorded, on the one thread there is', async () => {
  const dataDir = makeTempDirectory()
  const child = startChildWithoutWorkers('await-receipt', dataDir)
  expect(await child.exited()).toMatchObject({ code: 0 })
  expect(child.lines).toEqual(['acknowledged'])
  expect(readRows(dataDir).map((row) => row.event_type)).toEqual(['trail_started', 'session_start', 'decision'])
})

it('a broker that is out of reach keeps no finished process alive', async () => {
  const dataDir = makeTempDirectory()
  const started = performance.now()
  const child = startChild('record-and-end', dataDir)
  expect(await child.exited()).toMatchObject({ code: 0, signal: null })
  expect(performance.now() - started).toBeLessThan(15_000)
})

const count = (): number => process.listenerCount('SIGTERM') + process.listenerCount('exit')

it('listeners for signals are there while a trail is open, and gone afterwards', async () => {
  const before = count()
  const trails = [1, 2, 3].map(() => openTrail({ dataDir: makeTempDirectory(), handleExit: true }))
  expect(count()).toBe(before + 2)
  await Promise.all(trails.map((trail) => trail.close()))
  await vi.waitFor(() => expect(count()).toBe(before))
})

it('a thread that is too busy to see delivery end in its own time is told of no trouble', async () => {
  const problems: unknown[] = []
  const trail = openTrail({ dataDir: makeTempDirectory(), onProblem: (problem) => problems.push(problem) })
  trail.startSession({ session_id: 's1' }).decision({ reasoning: 'the last one' })
  const closed = trail.close()
  const state = { closed: false }
  void closed.then(() => (state.closed = true))
  const idle = new Int32Array(new SharedArrayBuffer(4))
  while (!state.closed) {
    // Delivery's last report and its exit come together then.
    Atomics.wait(idle, 0, 0, 100)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await closed).toEqual({ acked: 4, pending: 0, refused: 0 })
  expect(problems).toEqual([])
})
