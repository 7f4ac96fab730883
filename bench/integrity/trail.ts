/**
 * What is asked of a large sealed trail: verify of all of it and of an increment, beside the same check by hashes in the rows, and
 * evidence of one session.
 */
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { PARTITIONS } from '../consumer/backlog.ts'
import { rounded } from '../support/results.ts'
import { measureEvidence } from './evidence.ts'
import type { Figure, IntegrityBenchmark, Measured } from './figures.ts'
import { openSealedLog, withStore } from './sealed-log.ts'
import { openTrail, PRODUCER, type SealedTrail } from './sealed-trail.ts'
import { logBytes, sealBytes } from './storage.ts'
import { measureVerify } from './verify.ts'

/** Events that were verified before the increment, for each one of it. */
const BEFORE = 0.1

export function measureTrail(benchmark: IntegrityBenchmark): Promise<Measured> {
  return withStore(benchmark.directory, async (on) => {
    const { brokers, directory, only, events, say } = benchmark
    await using log = await openSealedLog({ ...on, brokers, directory, partitions: PARTITIONS, producer: PRODUCER })
    await using trail = await openTrail({ ...on, log, brokers, say })
    await trail.append(Math.round(BEFORE * events))
    const measured = await measureVerify(benchmark, trail)
    if (only.has('evidence')) {
      const evidence = await measureEvidence(benchmark, trail)
      return join(join(measured, evidence), await storageOf(trail, brokers))
    }
    return join(measured, await storageOf(trail, brokers))
  })
}

function join(one: Measured, other: Measured): Measured {
  return { figures: [...one.figures, ...other.figures], notes: [...one.notes, ...other.notes] }
}

async function storageOf(trail: SealedTrail, brokers: readonly string[]): Promise<Measured> {
  const { seals, checkpoints, consumerSeals, producerSeals, checkpointCount } = await sealBytes(trail.store)
  const topicBytes = await logBytes(brokers, `${trail.log.topic}${SEALS_SUFFIX}`)
  const figure = (name: string, bytes: number): Figure => {
    return { stage: 'verify', name, unit: 'bytes an event', rounds: [rounded(bytes / trail.events, 3)] }
  }
  return {
    figures: [
      figure('storage of this trail, stored at full speed', seals + checkpoints),
      figure('its topic of seals in Kafka', topicBytes),
    ],
    notes: [
      `The trail has ${trail.events} events in ${PARTITIONS} partitions, ${producerSeals} seals, ${consumerSeals} of the consumer, ${checkpointCount} checkpoints.`,
    ],
  }
}
