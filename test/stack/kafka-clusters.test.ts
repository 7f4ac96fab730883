/** Several nodes, and several clusters, of local Kafkas. */
import { stopAll } from '@agent-audit/stack'
import { describe, expect, it } from 'vitest'
import { isRunning } from '../support/is-running.ts'
import { SOON_BACK } from '../support/own-kafka.ts'
import { clusterIdOf, consume, makeTopic, produce, start } from './kafka-support.ts'
import { NO_KAFKA } from './support.ts'

describe.skipIf(NO_KAFKA !== undefined)(`startKafka ${NO_KAFKA ?? ''}`, () => {
  it('goes on with two of three nodes', async () => {
    const cluster = await start({ brokers: 3, properties: SOON_BACK })
    await makeTopic(cluster, 'notes')
    await produce(cluster, 'notes', 'three')
    await cluster.nodes[0]?.kill()
    await produce(cluster, 'notes', 'two')
    expect(await consume(cluster, 'notes', 2)).toEqual(['three', 'two'])
  })

  it('runs two clusters side by side, and stopAll ends both', async () => {
    const [one, two] = await Promise.all([start(), start()])
    expect(await clusterIdOf(one)).not.toBe(await clusterIdOf(two))
    await stopAll()
    expect([...one.nodes, ...two.nodes].map((node) => isRunning(node.pid ?? 0))).toEqual([false, false])
  })
})
