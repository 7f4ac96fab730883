/**
 * Checks the seals of a trail after every round, by the topics and the tables alone: each stored row is in exactly one seal of a
 * consumer, each record of a producer with a key in exactly one seal of its run, and every chain holds.
 */
import { BATCH_DECODERS, BufferMemory } from '@agent-audit/consumer/pipeline'
import type { Assignment } from '@agent-audit/kafka'
import { createKafkaSource } from '@agent-audit/kafka/source'
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { openKeyFile } from '@agent-audit/seals'
import { chainFaults, rowFaults, type SealedRange, sealedRanges } from '../support/consumer-seals.ts'
import { addLeaves, checkLeaves, type Leaves, type Message } from '../support/sealed-runs.ts'
import { until } from '../support/wait.ts'
import type { Servers } from './servers.ts'
import type { Trail } from './trail.ts'

const SEALED_TIMEOUT_MS = 60_000
const POLL_MS = 250
const READ_TIMEOUT_MS = 15_000
const SHOWN = 5

export class SealOracle {
  readonly #servers: Servers
  readonly #trail: Trail
  readonly #keysOfConsumers: () => readonly string[]
  /** Leaves of all records, and all notes, as far as they are read. */
  readonly #leaves: Leaves = new Map()
  readonly #notes: Message[] = []
  readonly #read = new Map<string, number>()
  /** Texts of ranges whose rows were compared. */
  readonly #compared = new Set<string>()

  constructor(servers: Servers, trail: Trail, keysOfConsumers: () => readonly string[]) {
    this.#servers = servers
    this.#trail = trail
    this.#keysOfConsumers = keysOfConsumers
  }

  /** Waits until all is sealed that the log holds. @param ends - Of its partitions. @returns every violation, as text */
  async check(ends: ReadonlyMap<number, number>): Promise<string[]> {
    let findings: string[] = []
    const look = async (): Promise<true | undefined> => {
      const unread = await this.#readOn().catch((error: unknown) => [`the topics cannot be read: ${String(error)}`])
      findings = [...unread, ...this.#ofConsumers(ends), ...this.#ofProducers()]
      return findings.length === 0 || undefined
    }
    await until('all sealed', look, { timeoutMs: SEALED_TIMEOUT_MS, pollMs: POLL_MS }).catch(() => undefined)
    if (findings.length > 0) return findings
    return this.#compareRows()
  }

  #ofConsumers(ends: ReadonlyMap<number, number>): string[] {
    const ranges = this.#ranges()
    const foreign = ranges.filter(({ seal }) => seal.logId !== this.#trail.logId)
    return [
      ...[...ends].flatMap(([partition, end]) => chainFaults(ranges, partition, end)),
      ...foreign.map(({ text }) => `a seal of another log: ${text}`),
    ]
  }

  #ranges(): SealedRange[] {
    const keys = this.#keysOfConsumers().map((file) => openKeyFile(file).key)
    return sealedRanges(
      this.#notes.map(({ value }) => String(value)),
      keys,
    )
  }

  #ofProducers(): string[] {
    const notes = this.#notes.filter(({ value }) => String(value).startsWith('audit-seal/v1 producer\n'))
    const { runs, killedRuns, producerKey } = this.#trail
    const leaves = new Map([...this.#leaves].filter(([runId]) => runs.has(runId)))
    return [...checkLeaves(leaves, notes, [producerKey])].flatMap(([runId, run]) => {
      const { faults, unsealed, sealedTwice, missing, gaps, undelivered, states } = run
      const wrong = Object.entries({ unsealed, sealedTwice, missing, gaps, undelivered }).filter(
        ([, numbers]) => numbers.length > 0,
      )
      const shown = wrong.map(([what, numbers]) => `${numbers.length} ${what}: ${numbers.slice(0, SHOWN).join(', ')}`)
      const open = killedRuns.has(runId) && run.records.length > 0 && states.endsWith('open')
      return [...faults, ...shown, ...(open ? ['its chain has no end'] : [])].map((fault) => `run ${runId}: ${fault}`)
    })
  }

  async #compareRows(): Promise<string[]> {
    const findings: string[] = []
    for (const range of this.#ranges()) {
      if (this.#compared.has(range.text)) continue
      findings.push(...(await rowFaults(this.#servers.store.admin, range)))
      this.#compared.add(range.text)
    }
    return findings
  }

  /** Reads both topics on to their ends. @returns what could not be read */
  async #readOn(): Promise<string[]> {
    const { topic } = this.#trail
    const { brokers } = this.#servers.kafka
    const group = { topics: [topic, topic + SEALS_SUFFIX], groupId: `oracle-${topic}`, sessionTimeoutMs: 10_000 }
    const connection = { brokers, ssl: false, sasl: undefined, clientId: 'oracle' }
    const parts = { memory: new BufferMemory(2 ** 26), decoders: BATCH_DECODERS }
    const source = createKafkaSource({ ...group, ...connection, ...parts })
    const drain = new AbortController()
    // A member knows of an added partition late; the next one does at once.
    const limit = setTimeout(() => drain.abort(), READ_TIMEOUT_MS)
    let left = this.#trail.partitions.length + 1
    try {
      await source.run(async (assignment) => {
        await this.#readPart(assignment, drain.signal)
        left -= 1
        if (left === 0) drain.abort()
      }, drain.signal)
    } finally {
      clearTimeout(limit)
      await source.close()
    }
    return left > 0 ? [`${left} partitions are not read`] : []
  }

  async #readPart(assignment: Assignment, stop: AbortSignal): Promise<void> {
    const name = `${assignment.topic}/${assignment.partition}`
    const { end } = await assignment.position()
    const from = this.#read.get(name) ?? 0
    if (from >= end) return
    for await (const slice of assignment.read(from, stop)) {
      for (const { value } of slice.records) this.#keep(assignment.topic, value)
      this.#read.set(name, slice.nextOffset)
      if (slice.nextOffset >= end) return
    }
  }

  #keep(topic: string, value: Buffer | null): void {
    if (value === null) return
    if (topic === this.#trail.topic) addLeaves([{ value }], this.#leaves)
    else this.#notes.push({ value: Buffer.from(value) })
  }
}
