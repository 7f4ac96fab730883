/** The producer killed between any two steps of its spool. The next one on the same directory sends and seals what it left. */
import { setTimeout as sleep } from 'node:timers/promises'
import { between, type Fault, type Injected, type Scene } from './fault.ts'

/** Statements of the spool, in the order of their steps. */
const STEPS = {
  'after it has stored a chunk': 'INSERT INTO chunk',
  'after it has stored leaves': 'INSERT INTO leaves',
  'after it has stored a seal': 'INSERT INTO seal ',
  'after it has moved the chain on': 'UPDATE sealing',
  'after a chunk was acknowledged': 'DELETE FROM chunk',
  'after a seal was acknowledged': 'DELETE FROM seal ',
} as const
const AWAY_MS = 1500

export const producerFaults: readonly Fault[] = Object.entries(STEPS).map(([step, statement]) => ({
  kind: `producer killed ${step}`,
  target: 'producer',
  inject: (scene) => kill(scene, statement),
}))

async function kill({ trail, random }: Scene, statement: string): Promise<Injected> {
  const struck = await trail.killProducer(statement)
  await sleep(between(random, 0, AWAY_MS))
  await trail.startProducer()
  return { at: Date.now(), partitions: trail.partitions, ...(struck ? {} : { missed: `never came to: ${statement}` }) }
}
