/** The models of the simulation without faults, whose time goes on by itself, for the tests that they share with the real parts. */
import type { ClickHouseSink, LogPartition, Source } from '@agent-audit/consumer/pipeline'
import { expect, onTestFinished } from 'vitest'
import { ModelGroup } from '../simulation/model-group.ts'
import { ModelPartition } from '../simulation/model-log.ts'
import { createModelSink } from '../simulation/model-sink.ts'
import { createModelSource } from '../simulation/model-source.ts'
import { ModelStore } from '../simulation/model-store.ts'
import { Process } from '../simulation/process.ts'
import { World } from '../simulation/world.ts'

/** How much faster the model's time goes. */
const SPEED = 20

/** A world without faults, until the test ends. */
function openWorld(): World {
  const world = new World(1, false)
  world.faults.stop()
  const end = new AbortController()
  onTestFinished(() => {
    end.abort()
    expect(world.violation).toBeUndefined()
  })
  void (async () => {
    while (!end.signal.aborted) {
      await world.kernel.run(() => false, world.kernel.now + SPEED)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })()
  return world
}

export interface OpenModelStore {
  readonly sink: ClickHouseSink
  readonly refuse: (runSeq: number) => void
  readonly note: (logPartition: LogPartition, first: number, last: number) => void
}

export function openModelStore(): OpenModelStore {
  const world = openWorld()
  const store = new ModelStore(world)
  const refused = new Set<number>()
  world.refuses = (runSeq) => refused.has(runSeq)
  const sink = createModelSink({ world, store, process: new Process(world, 'test'), groupId: 'group' })
  return {
    sink,
    refuse: (runSeq) => refused.add(runSeq),
    note({ logId, partition }, first, last) {
      for (let offset = first; offset <= last; offset++) {
        store.retention.note(`${logId.toString('hex')}/${partition}`, offset)
      }
    },
  }
}

export interface ModelBroker {
  readonly source: () => Source
  readonly append: (partition: number, values: readonly (Buffer | null)[]) => Promise<void>
  readonly truncate: (partition: number, before: number) => Promise<void>
}

export function openModelBroker(partitions: number): ModelBroker {
  const world = openWorld()
  const group = new ModelGroup(world)
  for (let partition = 0; partition < partitions; partition++)
    group.partitions.push(new ModelPartition(world, partition))
  let members = 0
  return {
    source: () => createModelSource({ world, group, process: new Process(world, `m${++members}`) }),
    async append(partition, values) {
      for (const value of values) {
        group.partitions[partition]?.append({ logTimeMs: Date.now(), key: null, value, headers: undefined })
      }
    },
    async truncate(partition, before) {
      const log = group.partitions[partition]
      if (log !== undefined) log.start = before
    },
  }
}
