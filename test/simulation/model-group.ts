/**
 * A model of Kafka's group coordinator, eager protocol: a member that joins makes all others rejoin, within the session
 * timeout. A new generation begins when all have rejoined, and fences commits of the previous one. Until then that one may
 * commit.
 */
import type { CommitAnswer } from '@agent-audit/consumer/pipeline'
import type { ModelPartition } from './model-log.ts'
import type { Reply } from './process.ts'
import type { World } from './world.ts'

/** The coordinator's answer to a member when a generation begins. */
export interface Joined {
  readonly generation: number
  readonly partitions: readonly number[]
}

interface Member {
  lastSeen: number
  /** Waits for the next generation. */
  reply: Reply<Joined> | undefined
  unwatch: () => void
}

/** How long the coordinator waits for more members once all known ones have joined, milliseconds. */
const JOIN_DELAY_MS = 20

export class ModelGroup {
  readonly partitions: ModelPartition[] = []
  readonly #members = new Map<string, Member>()
  readonly #world: World
  #generation = 0
  #joining = false
  #rounds = 0

  constructor(world: World) {
    this.#world = world
  }

  get size(): number {
    return this.#members.size
  }

  join(id: string, reply: Reply<Joined>): void {
    const member = this.#members.get(id) ?? { lastSeen: 0, reply: undefined, unwatch: () => undefined }
    member.reply = reply
    this.#members.set(id, member)
    this.rebalance()
    this.#completeWhenAllJoined()
  }

  /** Makes all members rejoin. */
  rebalance(): void {
    if (this.#joining || this.#members.size === 0) return
    this.#joining = true
    const round = ++this.#rounds
    this.#world.tell('group', () => 'rebalances')
    this.#world.kernel.after(this.#world.timing.sessionTimeoutMs, () => {
      if (this.#joining && this.#rounds === round) this.#complete()
    })
  }

  /** `rejoin`: a rebalance is under way. `unknown`: not a member of this generation. */
  heartbeat(id: string, generation: number): 'member' | 'rejoin' | 'unknown' {
    const member = this.#members.get(id)
    if (member === undefined || generation !== this.#generation) return 'unknown'
    member.lastSeen = this.#world.kernel.now
    return this.#joining ? 'rejoin' : 'member'
  }

  leave(id: string): void {
    if (!this.#members.delete(id)) return
    this.#world.tell('group', () => `${id} left`)
    this.rebalance()
    this.#completeWhenAllJoined()
  }

  /** Kafka does not check who owns the partition: any member of the generation may commit. */
  commit(
    member: { id: string; generation: number },
    partition: number,
    offset: number,
    metadata: string,
  ): CommitAnswer {
    if (!this.#members.has(member.id) || member.generation !== this.#generation) return 'refused'
    const log = this.partitions[partition]
    if (log !== undefined) log.committed = { offset, metadata }
    return 'acknowledged'
  }

  #completeWhenAllJoined(): void {
    if (!this.#joining || ![...this.#members.values()].every((member) => member.reply !== undefined)) return
    const round = this.#rounds
    this.#world.kernel.after(this.#world.random.between(0, JOIN_DELAY_MS), () => {
      const all = [...this.#members.values()].every((member) => member.reply !== undefined)
      if (this.#joining && this.#rounds === round && all) this.#complete()
    })
  }

  #complete(): void {
    const { kernel, random } = this.#world
    this.#joining = false
    this.#generation++
    for (const [id, member] of this.#members) if (member.reply === undefined) this.#members.delete(id)
    const members = random.shuffle([...this.#members])
    const generation = this.#generation
    for (const [index, [id, member]] of members.entries()) {
      const partitions = this.partitions.filter((_, at) => at % members.length === index).map((log) => log.partition)
      this.#world.tell('group', () => `generation ${generation}: ${id} has [${partitions.join(' ')}]`)
      member.reply?.ok({ generation, partitions })
      member.reply = undefined
      member.lastSeen = kernel.now
      member.unwatch()
      this.#expire(id, member)
    }
  }

  #expire(id: string, member: Member): void {
    const { kernel, timing } = this.#world
    const left = member.lastSeen + timing.sessionTimeoutMs - kernel.now
    member.unwatch = kernel.after(left, () => {
      if (this.#members.get(id) !== member || member.reply !== undefined) return
      if (member.lastSeen + timing.sessionTimeoutMs > kernel.now) return this.#expire(id, member)
      this.#world.tell('group', () => `${id} timed out`)
      this.leave(id)
    })
  }
}
