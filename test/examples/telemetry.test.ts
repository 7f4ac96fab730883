/** examples/telemetry.ts: the exported values are those of a trail in trouble, and of one that has recovered. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { writeFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Meter } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { expect, it, onTestFinished } from 'vitest'
import type { DeliveryMessage, LostMessage, ProblemMessage, TelemetryChannels } from '@agent-audit/producer'
import { observe, prometheusText } from '../../examples/telemetry.ts'
import { openTrail } from '../producer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const LABELS = { agent_id: 'a "b"\t\\\n', topic: 'audit.events' }

/** A meter of OpenTelemetry's own SDK. `read` resolves to the values by name, with the reason of a loss behind it. */
function readableMeter(): { meter: Meter; read: () => Promise<Record<string, unknown>> } {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
  const provider = new MeterProvider({ readers: [reader] })
  onTestFinished(() => provider.shutdown())
  const read = async (): Promise<Record<string, unknown>> => {
    const { resourceMetrics, errors } = await reader.collect()
    expect(errors).toEqual([])
    const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
    const points = metrics.flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => {
        const { reason } = attributes
        return [typeof reason === 'string' ? `${descriptor.name}/${reason}` : descriptor.name, value]
      }),
    )
    return Object.fromEntries(points)
  }
  return { meter: provider.getMeter('agent'), read }
}

function valueOf(text: string, metric: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${metric}{`))
  return line === undefined ? undefined : Number(line.split(' ').at(-1))
}

function collect<Name extends keyof TelemetryChannels>(name: Name): TelemetryChannels[Name][] {
  const messages: TelemetryChannels[Name][] = []
  const listen = (message: unknown): void => void messages.push(message as TelemetryChannels[Name])
  subscribe(name, listen)
  onTestFinished(() => void unsubscribe(name, listen))
  return messages
}

it('an unreachable log and a full spool show in depth, age and lost events, and a recovery empties them', async () => {
  const lost: LostMessage[] = collect('agent-audit:lost')
  const delivery: DeliveryMessage[] = collect('agent-audit:delivery')
  const problems: ProblemMessage[] = collect('agent-audit:problem')
  const dataDir = join(makeTempDirectory(), 'log')
  writeFileSync(dataDir, '') // A file at the path of the log's directory: there is no log yet.
  const trail = openTrail({
    dataDir,
    spoolDir: makeTempDirectory(),
    spoolMaxBytes: 2 ** 20,
    onFull: 'refuse',
    onProblem: () => {},
  })
  const { meter, read } = readableMeter()
  observe(meter, trail, LABELS)
  const session = trail.startSession({ session_id: 's1' })
  const receipts = Array.from({ length: 30 }, () => session.decision({ reasoning: 'x'.repeat(100_000) }))
  const outcomes = await Promise.allSettled(receipts.map(({ stored }) => stored))
  const refused = outcomes.filter(({ status }) => status === 'rejected').length
  expect(refused).toBeGreaterThan(10)
  await expect
    .poll(() => valueOf(prometheusText(trail, LABELS), 'audit_producer_spool_oldest_seconds'))
    .toBeGreaterThan(0.1)
  const text = prometheusText(trail, LABELS)
  expect(text).toContain(
    `audit_producer_events_lost_total{agent_id="a \\"b\\"\t\\\\\\n",topic="audit.events",reason="SPOOL_FULL"} ${refused}\n`,
  )
  expect(valueOf(text, 'audit_producer_connected')).toBe(0)
  expect(valueOf(text, 'audit_producer_events_failed_total')).toBe(refused)
  expect(valueOf(text, 'audit_producer_spool_bytes')).toBeGreaterThan(0.7 * 2 ** 20)
  const { recorded } = trail.stats()
  expect(valueOf(text, 'audit_producer_spool_events')).toBe(recorded - refused)
  expect(await read()).toMatchObject({
    'audit_producer_events_lost_total/SPOOL_FULL': refused,
    audit_producer_events_recorded_total: recorded,
    audit_producer_connected: 0,
  })
  expect(lost.reduce((sum, { events }) => sum + events, 0)).toBe(refused)
  expect(lost[0]).toMatchObject({ code: 'SPOOL_FULL', runId: trail.runId, topic: 'audit.events' })
  expect(problems.map(({ error }) => error.code)).toContain('SPOOL_FULL')
  expect(problems.map(({ error }) => error.code)).toContain(trail.stats().lastError)

  rmSync(dataDir)
  await expect.poll(async () => (await read())['audit_producer_connected']).toBe(1)
  await trail.flush()
  await expect
    .poll(() => read())
    .toMatchObject({ audit_producer_spool_events: 0, audit_producer_spool_oldest_seconds: 0 })
  const after = trail.stats()
  expect(await read()).toMatchObject({
    audit_producer_events_acked_total: after.recorded - refused,
    'audit_producer_events_lost_total/SPOOL_FULL': refused,
  })
  expect(delivery.map(({ state }) => state)).toEqual(['connected'])
})

function fail(): never {
  throw new Error('of the subscriber')
}

it('a subscriber that throws disturbs no record', async () => {
  const thrown: unknown[] = []
  const catcher = (error: unknown): void => void thrown.push(error)
  const others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException').on('uncaughtException', catcher)
  subscribe('agent-audit:delivery', fail)
  onTestFinished(() => {
    unsubscribe('agent-audit:delivery', fail)
    process.removeAllListeners('uncaughtException')
    for (const other of others) process.on('uncaughtException', other)
  })
  const trail = openTrail({ dataDir: makeTempDirectory() })
  const receipt = trail.startSession().decision({ reasoning: 'r' })
  await expect(receipt.acked).resolves.toMatchObject({ partition: expect.any(Number) })
  await expect.poll(() => thrown).toHaveLength(1)
  expect(await trail.flush()).toMatchObject({ pending: 0, refused: 0 })
})
