/**
 * One simulation: consumers write a log while everything around them fails. Then the faults end, and the work must finish:
 * every record once, no consumer stopped, none waiting for ever.
 */
import { readMetadata } from '@agent-audit/consumer/pipeline'
import { type EventFault, type Fault } from './faults.ts'
import { Fleet } from './fleet.ts'
import { ModelGroup } from './model-group.ts'
import { ModelPartition } from './model-log.ts'
import { ModelSeals } from './model-seals.ts'
import { LOG_ID } from './model-source.ts'
import { ModelStore } from './model-store.ts'
import { accountedUpTo, findFault } from './oracle.ts'
import { Producer } from './workload.ts'
import { World } from './world.ts'

export interface Outcome {
  readonly seed: number
  /** The violation; undefined if there was none. */
  readonly violation: string | undefined
  readonly history: readonly string[]
  readonly faults: ReadonlyMap<Fault, number>
  /** Offsets checked at the end. */
  readonly offsets: number
}

/** How long the end may take after the last fault, milliseconds: leases and sessions have to expire, a stopped partition pauses. */
const RECOVERY_LIMIT_MS = 150_000
const DRAIN_LIMIT_MS = 10_000
const MAX_PARTITIONS = 6

/** Runs one seed; the same seed gives the same history. */
export async function simulate(seed: number, keepHistory = false): Promise<Outcome> {
  const simulation = new Simulation(new World(seed, keepHistory))
  return { seed, ...(await simulation.run()) }
}

class Simulation {
  readonly #world: World
  readonly #group: ModelGroup
  readonly #store: ModelStore
  readonly #seals: ModelSeals
  readonly #fleet: Fleet
  readonly #producers: Producer[] = []

  constructor(world: World) {
    this.#world = world
    this.#group = new ModelGroup(world)
    this.#store = new ModelStore(world)
    this.#seals = new ModelSeals(world, this.#store, this.#group)
    this.#fleet = new Fleet(world, { group: this.#group, store: this.#store, seals: this.#seals })
  }

  async run(): Promise<Omit<Outcome, 'seed'>> {
    const { kernel, random, faults } = this.#world
    const partitions = 1 + random.below(5)
    for (let partition = 0; partition < partitions; partition++) this.#addPartition()
    for (const log of this.#group.partitions) if (random.chance(0.8)) log.committed = { offset: 0, metadata: 'clean' }
    const consumers = 1 + random.below(3)
    for (let index = 0; index < consumers; index++) kernel.after(random.between(0, 500), () => this.#fleet.start())
    const failingMs = random.between(8000, 30_000)
    this.#feed(failingMs)
    this.#strike(random.pick([800, 3000, 10_000]))
    await this.#until(() => false, failingMs)
    faults.stop()
    this.#world.tell('ORACLE', () => 'nothing fails from here on')
    await this.#finish()
    this.#fleet.dispose()
    const { violation, history = [] } = this.#world
    const offsets = this.#group.partitions.reduce((sum, log) => sum + log.end, 0)
    return { violation, history, faults: faults.counts, offsets }
  }

  async #finish(): Promise<void> {
    this.#fleet.heal()
    await this.#expect('everything to be written', () => this.#isAccounted(), RECOVERY_LIMIT_MS)
    // Inserts that are still under way arrive, and must be refused.
    await this.#until(() => false, 6 * this.#world.timing.leaseMs)
    this.#fleet.drainAll()
    await this.#expect('all consumers to drain', () => this.#fleet.idle, DRAIN_LIMIT_MS)
    // Whatever state is left, one more consumer goes on from it, and leaves it in order.
    this.#fleet.start()
    for (const [partition, log] of this.#group.partitions.entries()) {
      log.append(this.#producers[partition]?.draw(this.#world.kernel.now))
    }
    await this.#expect('the last records to be written', () => this.#isAccounted(), RECOVERY_LIMIT_MS)
    this.#fleet.drainAll()
    await this.#expect('the last consumer to drain', () => this.#fleet.idle, DRAIN_LIMIT_MS)
    for (const log of this.#group.partitions) {
      const fault = findFault(this.#store, log, this.#world)
      if (fault !== undefined) this.#world.fail(fault)
      const { offset, metadata } = log.committed ?? { offset: -1, metadata: '' }
      if (offset !== log.end || readMetadata(metadata).state.kind !== 'clean') {
        this.#world.fail(`partition ${log.partition} was left '${metadata}' at ${offset}, not clean at ${log.end}`)
      }
      const unsealed = this.#seals.findFault(log)
      if (unsealed !== undefined) this.#world.fail(unsealed)
    }
  }

  async #expect(what: string, done: () => boolean, limitMs: number): Promise<void> {
    if (await this.#until(done, limitMs)) return
    const where = this.#group.partitions.map((log) => `${accountedUpTo(this.#store, log)} of ${log.end}`)
    this.#world.fail(`waited ${limitMs} ms for ${what}; accounted for: ${where.join(', ')}`)
  }

  /** Whether the condition held within the limit. A violation ends the run at once. */
  async #until(done: () => boolean, limitMs: number): Promise<boolean> {
    const { kernel } = this.#world
    const broken = (): boolean => this.#world.violation !== undefined
    await kernel.run(() => broken() || done(), kernel.now + limitMs)
    return broken() || done()
  }

  #isAccounted(): boolean {
    return this.#group.partitions.every((log) => accountedUpTo(this.#store, log) >= log.end)
  }

  #addPartition(): void {
    const partition = this.#group.partitions.length
    this.#group.partitions.push(new ModelPartition(this.#world, partition))
    this.#producers.push(new Producer(this.#world.random, partition))
  }

  #feed(forMs: number): void {
    const { kernel, random } = this.#world
    // Few records at a time, so that some are always left to write while faults strike.
    const meanMs = forMs / random.pick([5, 15, 30, 60])
    const next = (): void => {
      if (kernel.now > forMs) return
      // Into all partitions at once, so that they share inserts, or into one of them.
      const everywhere = random.chance(0.6)
      const chosen = random.below(this.#group.partitions.length)
      for (const [partition, log] of this.#group.partitions.entries()) {
        if (!everywhere && partition !== chosen) continue
        for (let count = random.below(4); count >= 0; count--) log.append(this.#producers[partition]?.draw(kernel.now))
      }
      kernel.after(random.between(0, 2 * meanMs), next)
    }
    next()
  }

  #strike(meanMs: number): void {
    const { kernel, random, faults } = this.#world
    const next = (): void => {
      if (!faults.active) return
      const fault = faults.drawEvent()
      if (fault === undefined) return
      faults.count(fault)
      this.#act(fault)
      kernel.after(random.between(0, 2 * meanMs), next)
    }
    kernel.after(random.between(0, 2 * meanMs), next)
  }

  #act(fault: EventFault): void {
    const actions: Record<EventFault, () => void> = {
      'consumer: killed': () => this.#fleet.kill(),
      'consumer: paused': () => this.#fleet.pause(),
      'consumer: drained': () => this.#fleet.drain(),
      'group: rebalanced': () => this.#group.rebalance(),
      'group: offsets lost': () => this.#setCommitted(undefined),
      'group: offset set back': () => this.#setCommitted(''),
      'log: retention': () => this.#retain(),
      'retention: class dropped': () => {
        if (!this.#store.down) this.#store.retention.expire()
      },
      'log: partition added': () => {
        if (this.#group.partitions.length >= MAX_PARTITIONS) return
        this.#addPartition()
        this.#group.rebalance()
      },
      'store: killed': () => this.#crash(false),
      'store: power lost': () => this.#crash(true),
      'store: clock stepped back': () => this.#store.stepBack(),
      'store: row forged': () => this.#forge(),
      'seals: topic away': () => this.#seals.takeAway(),
    }
    actions[fault]()
  }

  #crash(power: boolean): void {
    if (!this.#store.down) this.#store.crash(power)
  }

  /** A little ahead, where a record may soon be, or as far ahead as an offset goes. */
  #forge(): void {
    const { random } = this.#world
    const log = random.pick(this.#group.partitions)
    const ahead = random.chance(0.2) ? 10 ** 15 : random.below(6)
    this.#store.forgery.forge(`${LOG_ID.toString('hex')}/${log.partition}`, accountedUpTo(this.#store, log) + ahead)
  }

  #setCommitted(metadata: string | undefined): void {
    const { random } = this.#world
    const log = random.pick(this.#group.partitions)
    const offset = log.start + random.below(log.end - log.start + 1)
    log.committed = metadata === undefined ? undefined : { offset, metadata }
    this.#seals.forget(log.partition)
    this.#world.tell('group', () => `offset of p${log.partition} is now ${log.committed?.offset ?? 'lost'}`)
  }

  // Only records that are in the tables: the loss of another one rightly stops a consumer.
  #retain(): void {
    const log = this.#world.random.pick(this.#group.partitions)
    const upTo = accountedUpTo(this.#store, log)
    log.lose(log.start + this.#world.random.below(upTo - log.start + 1))
    this.#world.tell('log', () => `p${log.partition} now begins at ${log.start}`)
  }
}
