/**
 * A model of the topic of seals, and the check of what is in it: seals are of rows that are stored, with the right hashes, and no
 * two of them that differ overlap. At the end they touch, from the first offset to the last one.
 */
import { createHash } from 'node:crypto'
import type { Sender } from '@agent-audit/kafka'
import { type ConsumerSeal, type NoteSigner, parseConsumerSeal, parseNote } from '@agent-audit/seals'
import { type OffsetRange, readMetadata } from '@agent-audit/consumer/pipeline'
import type { Row } from './insert-rows.ts'
import type { ModelGroup } from './model-group.ts'
import type { ModelPartition } from './model-log.ts'
import type { ModelStore } from './model-store.ts'
import { CLUSTER_ID, LOG_ID } from './model-source.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

const FAULTS = { lost: 'broker: request lost', answerLost: 'seal: answer lost', late: 'seal: lands late' } as const

export class ModelSeals {
  /** Seals by partition and text. */
  readonly #seals = new Map<number, Map<string, ConsumerSeal>>()
  /** Ranges that consumers have given up, by partition. */
  readonly #unsealed = new Map<number, OffsetRange[]>()
  /** Partitions whose metadata was lost, and the highest offset at which a consumer began anew since. */
  readonly #forgotten = new Map<number, number>()
  readonly #world: World
  readonly #store: ModelStore
  readonly #group: ModelGroup
  #away = false

  constructor(world: World, store: ModelStore, group: ModelGroup) {
    this.#world = world
    this.#store = store
    this.#group = group
  }

  get away(): boolean {
    return this.#away
  }

  /** Takes the topic away for a while. */
  takeAway(): void {
    const { kernel, random } = this.#world
    this.#away = true
    kernel.after(random.between(10, 6000), () => (this.#away = false))
  }

  append(note: string): void {
    const { text } = parseNote(note)
    const seal = parseConsumerSeal(text)
    const known = this.#seals.get(seal.partition) ?? new Map<string, ConsumerSeal>()
    this.#seals.set(seal.partition, known)
    if (known.has(text)) return
    const name = `seal ${seal.first} to ${seal.last} of partition ${seal.partition}`
    const other = [...known.values()].find(({ first, last }) => first <= seal.last && last >= seal.first)
    if (other !== undefined) this.#world.fail(`${name} overlaps another one, ${other.first} to ${other.last}`)
    const wrong = faultOf(seal, this.#store)
    if (wrong !== undefined) this.#world.fail(`${name} ${wrong}`)
    this.#world.tell('seals', () => `${name} appended`)
    known.set(text, seal)
  }

  /** The group has lost its metadata. */
  forget(partition: number): void {
    this.#forgotten.set(partition, this.#forgotten.get(partition) ?? 0)
  }

  begin(partition: number, first: number): void {
    const before = this.#forgotten.get(partition)
    if (before !== undefined) this.#forgotten.set(partition, Math.max(before, first))
  }

  giveUp(partition: number, range: OffsetRange): void {
    const logPartition = { logId: LOG_ID, topic: '', partition }
    const [rows, forged] = [
      this.#store.rowsOf(logPartition),
      this.#store.forgery.offsets(`${LOG_ID.toString('hex')}/${partition}`),
    ]
    const isLost = (offset: number): boolean =>
      !rows.has(offset) || forged.includes(offset) || offset < (this.#group.partitions[partition]?.lostBelow ?? 0)
    if (!offsetsIn(range).some(isLost)) {
      this.#world.fail(`offsets ${range.first} to ${range.last} of partition ${partition} were given up for no reason`)
    }
    this.#unsealed.set(partition, [...(this.#unsealed.get(partition) ?? []), range])
  }

  /** The violation in the seals of a partition whose consumers have left; undefined if there is none. */
  findFault(log: ModelPartition): string | undefined {
    const found = this.#faultOf(log)
    return found === undefined ? undefined : `seals of partition ${log.partition}: ${found}`
  }

  #faultOf({ partition, end, committed }: ModelPartition): string | undefined {
    const seals = [...(this.#seals.get(partition) ?? [])].toSorted(([, one], [, other]) => one.first - other.first)
    let [next, hash] = [0, undefined as Buffer | undefined]
    for (const [text, { first, last, prev }] of seals) {
      const begins = first !== next
      if (begins && !this.#isExplained(partition, { first: next, last: first - 1 })) {
        return `${next} to ${first - 1} has none`
      }
      const expected = begins ? undefined : hash
      if (prev !== undefined && expected?.equals(prev) !== true)
        return `the one from ${first} on follows on another one`
      if (
        prev === undefined &&
        expected !== undefined &&
        !this.#isExplained(partition, { first: first - 1, last: first - 1 })
      ) {
        return `the one from ${first} on follows on none`
      }
      ;[next, hash] = [last + 1, createHash('sha256').update(text).digest()]
    }
    if (next !== end) return `they end below ${next}, the log below ${end}`
    const { last, to } = readMetadata(committed?.metadata).seals ?? {}
    return last === end - 1 && to === undefined ? undefined : `the group says '${committed?.metadata}'`
  }

  /** Consumers have given the range up, or began anew without metadata: then nobody knows what was sealed. */
  #isExplained(partition: number, range: OffsetRange): boolean {
    const ranges = this.#unsealed.get(partition) ?? []
    const begun = this.#forgotten.get(partition) ?? 0
    return offsetsIn(range).every(
      (offset) => offset < begun || ranges.some(({ first, last }) => first <= offset && last >= offset),
    )
  }
}

function offsetsIn({ first, last }: OffsetRange): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

function faultOf(seal: ConsumerSeal, store: ModelStore): string | undefined {
  const rows: Row[] = []
  for (let offset = seal.first; offset <= seal.last; offset++) {
    const row = store.landedAt({ logId: LOG_ID, topic: seal.topic, partition: seal.partition }, offset)
    if (row === undefined) return `has offset ${offset}, which is not stored`
    rows.push(row)
  }
  for (const [name, table] of [['events', 'audit_events'] as const, ['skipped', 'audit_skipped'] as const]) {
    const of = rows.filter((row) => row.table === table)
    const hash = createHash('sha256')
    for (const { bytes } of of) hash.update(bytes)
    const { count, digest } = seal[name]
    if (count !== of.length) return `says ${count} ${name}, of ${of.length}`
    if (!digest.equals(hash.digest())) return `has another hash of its ${name}`
  }
  return undefined
}

interface SealParts {
  readonly world: World
  readonly process: Process
  readonly seals: ModelSeals
}

export function createModelSender({ process, seals }: SealParts): Sender {
  return {
    connect: () => Promise.resolve({ cluster: CLUSTER_ID, partitions: new Map() }),
    send: (_to, records) =>
      process.call({
        to: 'broker',
        what: `${records.length} seals`,
        faults: FAULTS,
        serve(reply) {
          if (seals.away) return reply.fail(new Error('the topic is away'))
          for (const { value } of records) seals.append(value.toString())
          reply.ok({ baseOffset: 0 })
        },
      }),
    close: () => Promise.resolve(),
  }
}

/** No signature: whether it is right is no matter of the protocol. Each process has a key of its own. */
export function createModelSigner({ world, process }: Omit<SealParts, 'seals'>): NoteSigner {
  const sign = (text: string): string => `${text}\n— ${process.name} ${Buffer.alloc(68).toString('base64')}\n`
  const outside = world.random.chance(0.3)
  return {
    keyName: process.name,
    vkey: '',
    sign: (text) => (outside ? process.clock.sleep(5).then(() => sign(text)) : sign(text)),
  }
}
