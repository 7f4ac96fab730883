/** Consumers killed at each step, held still until they are zombies, restarted in order, coming and going. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Step, STEPS } from './consumer-main.ts'
import { between, type Fault, type Injected, pick, type Scene } from './fault.ts'
import type { Member } from './fleet.ts'
import { until } from '../support/wait.ts'

/** How long a killed consumer stays away at most: a supervisor is quick. */
const AWAY_MS = 2000
/** A step is struck at its start, or while its request is on its way. */
const MID_REQUEST_MS = 15
const GUESTS = 3

const kills: Fault[] = STEPS.map((step) => ({
  kind: `consumer killed ${inWords(step)}`,
  target: 'consumer',
  inject: (scene) => kill(scene, step),
}))

const zombies: Fault[] = (
  ['before a commit', 'insert sent', 'insert answered', 'after the fence commit', 'before a seal', 'seal sent'] as const
).map((step) => ({
  kind: `consumer held ${inWords(step)}, zombie`,
  target: 'consumer',
  inject: (scene) => hold(scene, step),
}))

export const consumerFaults: readonly Fault[] = [
  ...kills,
  ...zombies,
  { kind: 'consumer restarted in order', target: 'consumer', inject: restart },
  { kind: 'join and leave storm', target: 'group', inject: storm },
]

function inWords(step: Step): string {
  return step.endsWith(' sent') || step.endsWith(' answered') ? `with its ${step}` : step
}

/** A consumer that works on partitions: a consumer without partitions reaches no step. */
export async function aWorkingMember({ fleet, random }: Scene): Promise<Member> {
  return until('a consumer with partitions', () => {
    const working = fleet.members.filter((member) => member.isAlive && member.partitions.length > 0)
    return working.length === 0 ? undefined : pick(random, working)
  })
}

async function kill(scene: Scene, step: Step): Promise<Injected> {
  const { random, trail } = scene
  const member = await aWorkingMember(scene)
  const struck = await member.strike({ step, signal: 'SIGKILL', delayMs: between(random, 0, MID_REQUEST_MS) })
  if (struck === undefined) {
    member.start()
    return { at: Date.now(), partitions: trail.partitions, missed: `never came to: ${step}` }
  }
  await sleep(between(random, 0, AWAY_MS))
  member.start()
  return struck
}

/** The held consumer wakes when another one owns its partitions, by chance before or after that one has begun to write. */
async function hold(scene: Scene, step: Step): Promise<Injected> {
  const { random, trail, timing } = scene
  const member = await aWorkingMember(scene)
  const struck = await member.strike({ step, signal: 'SIGSTOP', delayMs: between(random, 0, MID_REQUEST_MS) })
  if (struck === undefined) return { at: Date.now(), partitions: trail.partitions, missed: `never came to: ${step}` }
  await sleep(timing.sessionMs + between(random, 200, timing.leaseMs + timing.marginMs + 1000))
  member.signal('SIGCONT')
  return struck
}

async function restart(scene: Scene): Promise<Injected> {
  const member = await aWorkingMember(scene)
  const { partitions } = member
  await member.drain()
  member.start()
  // Until its last insert nothing had stopped.
  const at = scene.fleet.stored.findLast((stored) => stored.member === member.name)?.at ?? Date.now()
  return { at, partitions }
}

/** Guests join one after the other and go again, in order or killed. */
async function storm({ fleet, random, trail }: Scene): Promise<Injected> {
  const guests = Array.from({ length: GUESTS }, (_, index) => fleet.guest(`guest ${index}`))
  await Promise.all(
    guests.map(async (guest, index) => {
      await sleep(index * between(random, 100, 600))
      guest.start()
      await sleep(between(random, 500, 2500))
      await (random() < 0.5 ? guest.kill() : guest.drain())
    }),
  )
  return { at: Date.now(), partitions: trail.partitions }
}
