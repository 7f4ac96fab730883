/** The pipeline's assumptions about a source, tested on Kafka, the embedded log, and the model of a broker. */
import { readSettings } from '@agent-audit/consumer'
import { type Assignment, composeParts, copyRecord, type LogSlice, type Source } from '@agent-audit/consumer/pipeline'
import { IntegrityError, TrailError } from '@agent-audit/schemas'
import { openEmbeddedLog } from '@agent-audit/spool'
import { kafkaAvailability } from '@agent-audit/stack'
import kafkajs from 'kafkajs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { environmentOf, openEmbedded, type OpenLog, openOnKafka, openStore, type TestLog } from '../consumer/support.ts'
import { encodeRun } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { openModelBroker } from './model.ts'

interface Broker {
  /** Makes another member of the group. */
  readonly source: () => Source
  readonly append: (partition: number, values: readonly (Buffer | null)[]) => Promise<void>
  /** Deletes records below an offset. */
  readonly truncate: (partition: number, before: number) => Promise<void>
}

interface Kind {
  readonly name: string
  readonly open: (partitions: number) => Promise<Broker>
  /** Whether several members can share a log's partitions. */
  readonly shared: boolean
}

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 20 }

function real(openLog: OpenLog, brokers?: readonly string[]): Kind['open'] {
  return async (partitions) => {
    const log = await openLog(store, { partitions, clean: false })
    const settings = readSettings(environmentOf(store, log))
    return {
      source: () => composeParts(settings).source,
      append: (partition, values) => log.append(partition, values),
      truncate: async (partition, before) => {
        if (brokers === undefined) return truncateEmbedded(log, partition, before)
        const admin = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING }).admin()
        await admin.connect()
        // kafkajs deletes records only of a topic that it has seen before.
        await admin.fetchTopicOffsets(log.topic)
        await admin.deleteTopicRecords({ topic: log.topic, partitions: [{ partition, offset: String(before) }] })
        await admin.disconnect()
      },
    }
  }
}

const kinds: Kind[] = [
  { name: 'the model', open: async (partitions) => openModelBroker(partitions), shared: true },
  { name: 'the embedded log', open: real(openEmbedded), shared: false },
]
const kafka = kafkaAvailability()
if (kafka.available) {
  const { brokers } = await sharedKafka()
  kinds.push({ name: 'Kafka', open: real(openOnKafka(brokers), brokers), shared: true })
} else it.skip(`on Kafka: ${kafka.reason}`)

function truncateEmbedded({ environment, topic }: TestLog, partition: number, before: number): void {
  const log = openEmbeddedLog({ directory: environment['AUDIT_DATA_DIR'] ?? '' })
  log.deleteBefore(topic, partition, before)
  log.close()
}

/**
 * Runs a source as the consumer does: again after trouble with the broker. The coordinator of a broker's first group loads for
 * longer than the source waits for it.
 */
async function runPatiently(source: Source, work: Parameters<Source['run']>[0], drain: AbortSignal): Promise<void> {
  while (!drain.aborted) {
    try {
      return await source.run(work, drain)
    } catch (error) {
      if (!(error instanceof TrailError && error.retryable)) throw error
    }
  }
}

/** A member that holds its assignments until they end. */
function join(source: Source): { readonly assignments: Assignment[]; readonly stop: () => Promise<void> } {
  const assignments: Assignment[] = []
  const drain = new AbortController()
  const work = (assignment: Assignment): Promise<void> => {
    assignments.push(assignment)
    return new Promise((resolve) => {
      for (const signal of [assignment.ended, assignment.draining]) signal.addEventListener('abort', () => resolve())
    })
  }
  const running = runPatiently(source, work, drain.signal)
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    drain.abort()
    stopping ??= running.catch(() => undefined).then(() => source.close())
    return stopping
  }
  onTestFinished(stop)
  return { assignments, stop }
}

/** Reads this many records. */
async function readSome(assignment: Assignment, from: number, count: number): Promise<LogSlice[]> {
  const until = new AbortController()
  const slices: LogSlice[] = []
  for await (const slice of assignment.read(from, until.signal)) {
    slices.push({ ...slice, records: slice.records.map(copyRecord) })
    if (offsetsOf(slices).length >= count) until.abort()
  }
  return slices
}

function offsetsOf(slices: readonly LogSlice[]): number[] {
  return slices.flatMap((slice) => slice.records.map(({ offset }) => offset))
}

describe.each(kinds)('the source of $name', ({ open, shared }) => {
  it('tells the positions of all partitions, also while it is no member', async () => {
    const broker = await open(2)
    await broker.append(1, encodeRun('a', 0, 4))
    const source = broker.source()
    onTestFinished(() => source.close())
    const positions = async (): Promise<unknown[]> =>
      (await source.positions()).toSorted((one, other) => one.partition - other.partition)
    const none = { topic: expect.any(String), committed: undefined, start: 0 }
    await expect.poll(positions, WAIT).toEqual([
      { ...none, partition: 0, end: 0 },
      { ...none, partition: 1, end: 5 },
    ])
  })

  it('gives an assignment for each partition, with the offsets that the log holds', async () => {
    const broker = await open(2)
    await broker.append(1, encodeRun('a', 0, 2))
    const { assignments } = join(broker.source())
    await expect
      .poll(() => assignments.map(({ partition }) => partition).toSorted((a, b) => a - b), WAIT)
      .toEqual([0, 1])
    const positions = await Promise.all(
      assignments.toSorted((a, b) => a.partition - b.partition).map((c) => c.position()),
    )
    expect(positions).toEqual([
      { committed: undefined, start: 0, end: 0 },
      { committed: undefined, start: 0, end: 3 },
    ])
  })

  it('reads from an offset on, in order, present records and later ones, until it is told to end', async () => {
    const broker = await open(1)
    const values = encodeRun('a', 0, 5)
    await broker.append(0, values.slice(0, 4))
    const { assignments } = join(broker.source())
    await expect.poll(() => assignments.length, WAIT).toBe(1)
    const [assignment] = assignments as [Assignment]
    const reading = readSome(assignment, 2, 4)
    await broker.append(0, values.slice(4))
    const slices = await reading
    expect(offsetsOf(slices)).toEqual([2, 3, 4, 5])
    expect(slices.flatMap(({ records }) => records.map(({ value }) => value))).toEqual(values.slice(2))
    expect(slices.at(-1)).toMatchObject({ nextOffset: 6, logEnd: 6 })
    // After the end it can be read again, from any offset.
    expect(offsetsOf(await readSome(assignment, 1, 2)).slice(0, 2)).toEqual([1, 2])
  })

  it('keeps the last commit, with its metadata, for the next member', async () => {
    const broker = await open(1)
    await broker.append(0, encodeRun('a', 0, 5))
    const first = join(broker.source())
    await expect.poll(() => first.assignments.length, WAIT).toBe(1)
    const [assignment] = first.assignments as [Assignment]
    await readSome(assignment, 0, 1)
    expect(await assignment.commit(2, 'busy 17')).toBe('acknowledged')
    expect(await assignment.commit(4, 'clean')).toBe('acknowledged')
    expect((await assignment.position()).committed).toEqual({ offset: 4, metadata: 'clean' })
    await first.stop()
    const second = join(broker.source())
    await expect.poll(() => second.assignments.length, WAIT).toBe(1)
    expect((await second.assignments[0]?.position())?.committed).toEqual({ offset: 4, metadata: 'clean' })
  })

  it('ends an assignment by draining it first, and yields no more records', async () => {
    const broker = await open(1)
    await broker.append(0, encodeRun('a', 0, 1))
    const { assignments, stop } = join(broker.source())
    await expect.poll(() => assignments.length, WAIT).toBe(1)
    const [assignment] = assignments as [Assignment]
    const reading = readSome(assignment, 0, 100)
    await stop()
    await reading
    expect(assignment.draining.aborted).toBe(true)
    expect(assignment.ended.aborted).toBe(true)
  })

  it('fails with the error of the work, once it has left the group', async () => {
    const broker = await open(1)
    const source = broker.source()
    const failure = new IntegrityError('LOG_REPLACED', 'the work failed')
    const running = runPatiently(source, () => Promise.reject(failure), new AbortController().signal)
    await expect(running).rejects.toBe(failure)
    await source.close()
    const { assignments } = join(broker.source())
    await expect.poll(() => assignments.length, WAIT).toBe(1)
  })

  it.skipIf(!shared)('commits nothing any more for an assignment whose epoch has ended', async () => {
    const broker = await open(2)
    await broker.append(0, encodeRun('a', 0, 5))
    await broker.append(1, encodeRun('b', 0, 5))
    const first = join(broker.source())
    await expect.poll(() => first.assignments.length, WAIT).toBe(2)
    const old = [...first.assignments]
    for (const assignment of old) {
      await readSome(assignment, 0, 1)
      expect(await assignment.commit(1, 'busy 1')).toBe('acknowledged')
    }
    const second = join(broker.source())
    await expect.poll(() => [first.assignments.length, second.assignments.length], WAIT).toEqual([3, 1])
    expect(old.map(({ ended }) => ended.aborted)).toEqual([true, true])
    // The member has rejoined: its commit would count now, if it did not check which assignment the commit is for.
    for (const assignment of old) expect(await assignment.commit(5, 'clean')).toBe('refused')
    const now = [...first.assignments.slice(2), ...second.assignments]
    for (const assignment of now) {
      expect((await assignment.position()).committed).toEqual({ offset: 1, metadata: 'busy 1' })
    }
  })

  it('reports an offset that the log no longer holds, and reads on from one that it holds', async () => {
    const broker = await open(1)
    await broker.append(0, encodeRun('a', 0, 5))
    await broker.truncate(0, 4)
    const { assignments } = join(broker.source())
    await expect.poll(() => assignments.length, WAIT).toBe(1)
    const [assignment] = assignments as [Assignment]
    expect(await assignment.position()).toMatchObject({ start: 4, end: 6 })
    await expect(readSome(assignment, 3, 1)).rejects.toMatchObject({ code: 'LOG_TRUNCATED' })
    expect(offsetsOf(await readSome(assignment, 4, 2))).toEqual([4, 5])
  })
})
