import { describe, expect, it, vi } from 'vitest'
import { isRunning } from '../support/is-running.ts'
import { childrenOf, command, launch, NO_CLICKHOUSE, start } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

/** More sessions than are recorded before the test stops it. */
const ENDLESS = ['--sessions', '100000', '--json']
/** A killed consumer's membership and lease run out before the next one writes: after 4 s here, after 30 s by default. */
const SHORT_LEASE = {
  LEASE_MS: '4000',
  SESSION_TIMEOUT_MS: '4000',
  INSERT_TIMEOUT_MS: '3000',
  CLOCK_MARGIN_MS: '200',
}
/** Inserts so small that the log holds events the consumer has not read, at any moment. */
const SLOW_CONSUMER = { BATCH_MAX_EVENTS: '200' }
const WAIT = { timeout: 40_000, interval: 50 }

describe.skipIf(NO_CLICKHOUSE !== undefined)(`npm start, stopped ${NO_CLICKHOUSE ?? ''}`, () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends in order on %s: accepted events are stored, no child runs on', async (signal, exitCode) => {
    const dataDir = makeTempDirectory()
    const running = launch(['--data-dir', dataDir, ...ENDLESS], SLOW_CONSUMER)
    await running.said(/ [1-9][\d,]* stored/)
    const children = childrenOf(running.child.pid ?? 0)
    running.child.kill(signal)
    const run = await running.ended
    expect(run.exitCode).toBe(exitCode)
    expect(run.stderr).toMatch(/^stopped: ([\d,]+) events accepted, \1 stored$/m)
    expect(children.filter(isRunning)).toEqual([])
    const verified = await command(dataDir, ['verify', '--completeness', '--json'])
    expect(JSON.parse(verified.stdout)).toMatchObject({ verdict: 'complete', runs: [{ state: 'closed', missing: 0 }] })
  })

  it('ends its children when it is killed, and the next run stores the rest', async () => {
    const dataDir = makeTempDirectory()
    const running = launch(['--data-dir', dataDir, ...ENDLESS], SHORT_LEASE)
    await running.said(/ [1-9][\d,]* stored/)
    const children = childrenOf(running.child.pid ?? 0)
    expect(children).toHaveLength(2)
    running.child.kill('SIGKILL')
    await running.ended
    await vi.waitFor(() => expect(children.filter(isRunning)).toEqual([]), WAIT)
    expect(await start(['--data-dir', dataDir, '--sessions', '20', '--json'], SHORT_LEASE)).toMatchObject({
      exitCode: 0,
    })
    const verified = await command(dataDir, ['verify', '--completeness', '--json'])
    const { verdict, runs } = JSON.parse(verified.stdout) as { verdict: string; runs: { missing: number }[] }
    expect(verdict).toBe('complete')
    expect(runs.map(({ missing }) => missing)).toEqual([0, 0])
  })

  it.each([
    ['consumer', 1, /^npm start: the consumer has ended \(SIGKILL\)/m],
    ['ClickHouse', 0, /^npm start: ClickHouse at 127\.0\.0\.1:\d+ cannot be reached/m],
  ])('fails when its %s is killed, and the next run stores the accepted events', async (_, index, message) => {
    const dataDir = makeTempDirectory()
    const running = launch(['--data-dir', dataDir, ...ENDLESS], SHORT_LEASE)
    await running.said(/ [1-9][\d,]* stored/)
    process.kill(childrenOf(running.child.pid ?? 0)[index] ?? 0, 'SIGKILL')
    const run = await running.ended
    expect(run).toMatchObject({ exitCode: 1 })
    expect(run.stderr).toMatch(message)
    expect(await start(['--data-dir', dataDir, '--sessions', '20', '--json'], SHORT_LEASE)).toMatchObject({
      exitCode: 0,
    })
    const verified = await command(dataDir, ['verify', '--completeness', '--json'])
    expect(JSON.parse(verified.stdout)).toMatchObject({ verdict: 'complete', runs: [{ missing: 0 }, { missing: 0 }] })
  })
})
