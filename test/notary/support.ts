/** Shared by the tests of the notary: notes, logs to append them to, and notaries to run. */
import { connectAnalytics } from '@agent-audit/analytics'
import { createEmbeddedSource } from '@agent-audit/consumer/pipeline'
import type { Source } from '@agent-audit/kafka'
import {
  type CheckpointSink,
  type NewLeaf,
  Notary,
  type NotaryOptions,
  type OpenLog,
  SealTables,
  type SignedCheckpoint,
} from '@agent-audit/notary'
import { logIdOf } from '@agent-audit/schemas'
import { formatConsumerSeal, formatProducerSeal, generateKey, type KeySigner, signerFromPem } from '@agent-audit/seals'
import { openEmbeddedLog } from '@agent-audit/spool'
import { onTestFinished } from 'vitest'
import type { Store } from '../consumer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

export const SEALS_TOPIC = 'audit.events.seals'
const HASH = Buffer.alloc(32, 7)

export function newSigner(name: string): KeySigner {
  return signerFromPem(generateKey(name))
}

/** A run's seal, as its producer sends it. */
export function producerNote(signer: KeySigner, number: number): Buffer {
  const text = formatProducerSeal({
    topic: 'audit.events',
    producerId: decodeURIComponent(signer.keyName),
    runId: '0123456789abcdef0123456789abcdef',
    number,
    first: 10 * number,
    last: 10 * number + 9,
    count: 10,
    schema: '00112233445566aa',
    digest: HASH,
    gaps: [],
    undelivered: [],
    prev: number === 0 ? undefined : HASH,
    time: Date.UTC(2026, 10, 23),
    state: { kind: 'open' },
  })
  return Buffer.from(signer.sign(text))
}

export function consumerNote(signer: KeySigner, first: number, partition = 3): Buffer {
  const rows = { count: 5, digest: HASH }
  const text = formatConsumerSeal({
    logId: '0011223344556677',
    topic: 'audit.events',
    partition,
    first,
    last: first + 9,
    rows: 1,
    events: rows,
    skipped: rows,
    prev: HASH,
  })
  return Buffer.from(signer.sign(text))
}

/** An embedded log with a topic of seals. */
export interface SealTopic {
  readonly directory: string
  readonly logId: Buffer
  append(values: readonly (Buffer | null)[]): void
  source(groupId?: string): Source
}

export function openSealTopic(): SealTopic {
  const directory = makeTempDirectory()
  const log = openEmbeddedLog({ directory })
  log.createTopic(SEALS_TOPIC, 1)
  onTestFinished(() => log.close())
  return {
    directory,
    logId: logIdOf(log.id, SEALS_TOPIC),
    append: (values) =>
      void log.append(
        SEALS_TOPIC,
        0,
        values.map((value) => ({ key: Buffer.from('key'), value })),
      ),
    source: (groupId = 'notary') =>
      createEmbeddedSource({ directory, topics: [SEALS_TOPIC], groupId, sessionTimeoutMs: 1000 }),
  }
}

/** Keeps checkpoints in memory; away while `fault` is set. */
export class MemorySink implements CheckpointSink {
  readonly name = 'memory'
  readonly kept: SignedCheckpoint[]
  fault: Error | undefined

  constructor(kept: readonly SignedCheckpoint[] = []) {
    this.kept = [...kept]
  }

  newest(): Promise<string[]> {
    if (this.fault !== undefined) return Promise.reject(this.fault)
    return Promise.resolve(this.kept.toSorted((one, other) => other.size - one.size).map(({ note }) => note))
  }

  put(checkpoint: SignedCheckpoint): Promise<void> {
    if (this.fault !== undefined) return Promise.reject(this.fault)
    this.kept.push(checkpoint)
    return Promise.resolve()
  }

  /** Size of the newest one. */
  get size(): number {
    return this.kept.at(-1)?.size ?? 0
  }
}

export interface Running {
  readonly log: OpenLog
  readonly signed: SignedCheckpoint[]
  readonly stored: NewLeaf[]
  readonly notLeaves: number[]
  readonly problems: string[]
  /** Sizes that sinks have taken. */
  readonly delivered: number[]
  /** What sinks did: `waits memory`, `goes on memory`. */
  readonly sinks: string[]
  /** The error that it ends with by itself. */
  readonly failure: Promise<unknown>
  stop(): Promise<void>
}

export type Given = Pick<NotaryOptions, 'source' | 'signer'> &
  Partial<NotaryOptions> & { readonly sinks?: readonly CheckpointSink[] }

/** Runs a notary in this process; stopped after the test. */
export function runNotary(store: Store, { sinks = [], ...given }: Given): Running {
  const own = connectAnalytics(store.dataDir.notary)
  const state = { signed: [], stored: [], notLeaves: [], problems: [], delivered: [], sinks: [] } as Omit<
    Running,
    'failure' | 'stop' | 'log'
  >
  let log: OpenLog | undefined
  const notary = new Notary({
    groupId: 'notary',
    analytics: own,
    standbyMs: 20_000,
    createSinks: (open) => {
      log = open
      return sinks
    },
    observer: {
      began: () => undefined,
      stored: (leaves) => state.stored.push(...leaves),
      signed: (checkpoint) => state.signed.push(checkpoint),
      notALeaf: (offset) => state.notLeaves.push(offset),
      problem: (error) => state.problems.push(`${error.code} ${error.message}`),
      delivered: (_, { size }) => state.delivered.push(size),
      sinkWaits: (sink, error) => state.sinks.push(`waits ${sink}: ${String(error)}`),
      sinkGoesOn: (sink) => state.sinks.push(`goes on ${sink}`),
    },
    ...given,
  })
  const stopping = new AbortController()
  const run = async (): Promise<void> => {
    try {
      await notary.run(stopping.signal)
    } finally {
      await given.source.close()
      await own.close()
    }
  }
  const running = run()
  const failure = running.then(
    () => undefined,
    (error: unknown) => error,
  )
  const stop = async (): Promise<void> => {
    stopping.abort()
    await running
  }
  onTestFinished(() => stop().catch(() => undefined))
  return {
    ...state,
    failure,
    stop,
    get log() {
      if (log === undefined) throw new Error('the log is not open yet')
      return log
    },
  }
}

/** The tables of a log, as a reader has them. */
export function tablesOf(store: Store, logId: Buffer): SealTables {
  const analytics = connectAnalytics(store.dataDir.reader)
  onTestFinished(() => analytics.close())
  return new SealTables(analytics, { logId, topic: SEALS_TOPIC })
}
