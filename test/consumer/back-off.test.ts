/** The pauses of a consumer whose work fails, on a clock that passes only where the test lets it. */
import { createConsumer, readSettings } from '@agent-audit/consumer'
import { type Assignment, composeParts, type ConsumerParts } from '@agent-audit/consumer/pipeline'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'

const GROUP = 'writer'

/** @returns The pauses after tries whose work lasts so long, milliseconds. Every start check passes; then the work fails. */
async function pausesAfter(lasting: readonly number[]): Promise<number[]> {
  const directory = mkdtempSync(`${tmpdir()}/back-off-`)
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const settings = readSettings({ AUDIT_GROUP_ID: GROUP, AUDIT_DATA_DIR: directory })
  const real = composeParts(settings)
  const drain = new AbortController()
  const pauses: number[] = []
  let now = 0
  const assignment: Assignment = {
    logId: Buffer.alloc(8),
    topic: 'audit.events',
    partition: 0,
    ended: new AbortController().signal,
    draining: drain.signal,
    position() {
      now += lasting[pauses.length] ?? 0
      return Promise.reject(new AuditUnavailableError('LOG_UNAVAILABLE', 'the work fails'))
    },
    read: () => expect.unreachable(),
    commit: () => Promise.resolve('acknowledged'),
  }
  const parts: ConsumerParts = {
    ...real,
    clock: {
      now: () => now,
      wallMs: () => now,
      sleep(ms, signal) {
        // The polls beside the work sleep until they are stopped. The back-off waits with the signal that drains the consumer.
        if (signal !== drain.signal) return aborted(signal)
        now += ms
        if (pauses.push(ms) === lasting.length) drain.abort()
        return Promise.resolve()
      },
    },
    sink: {
      ...real.sink,
      checkAccess: () => Promise.resolve(),
      registration: () => Promise.resolve({ consumerGroup: GROUP, topicId: '' }),
      mostParts: () => Promise.resolve(0),
    },
    source: {
      ...real.source,
      run: (work) => work(assignment),
    },
  }
  await createConsumer(settings, pino({ level: 'silent' }), () => parts).run(drain.signal)
  return pauses
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve()
    else signal?.addEventListener('abort', () => resolve(), { once: true })
  })
}

it('waits longer each time while the work fails at once, though every start check passes', async () => {
  const pauses = await pausesAfter([0, 0, 0, 0, 0, 0, 0, 0])
  expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000])
})

it('begins with a short pause again only after work that has lasted for as long as the longest pause', async () => {
  expect(await pausesAfter([0, 0, 9999, 10_000, 0, 0])).toEqual([250, 500, 1000, 250, 500, 1000])
})
