/** One round: load, faults, everything flows again, the load ends, and the oracle checks. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { between, type Injected, type Scene } from './fault.ts'
import type { Oracle, Verdict } from './oracle.ts'
import type { Round } from './plan.ts'
import { until } from '../support/wait.ts'

const FLOW_TIMEOUT_MS = 180_000
/** The second of two faults comes up to so much later than the first. */
const APART_MS = 1500

export interface Struck {
  readonly kind: string
  readonly missed: string | undefined
  /** Until the slowest of the partitions it stopped flowed again. */
  readonly recoveryMs: number
}

export interface RoundResult {
  readonly faults: readonly Struck[]
  readonly verdict: Verdict
  /** Age of the oldest record that was stored, at the time it was. */
  readonly longestLagMs: number
}

/** @throws Error if the pipeline does not flow again, or a consumer ends by itself. */
export async function playRound(round: Round, scene: Scene, oracle: Oracle): Promise<RoundResult> {
  const { fleet, trail, servers, random, load } = scene
  const check = (): void => {
    for (const member of fleet.members) member.check()
  }
  fleet.forget()
  await trail.go(load.burst)
  await flows(scene, { at: 0, partitions: trail.partitions }, check)
  const faults = await Promise.all(
    round.map(async (fault, index) => {
      if (index > 0) await sleep(between(random, 0, APART_MS))
      const injected = await fault.inject(scene)
      const flowsAt = await flows(scene, injected, check)
      return { kind: fault.kind, missed: injected.missed, recoveryMs: flowsAt - injected.at }
    }),
  )
  for (const member of fleet.members) member.start()
  await servers.inSync()
  await servers.storeUp()
  // Also a consumer that has lost all its partitions to others.
  for (const member of fleet.members) await member.answers()
  const acknowledged = await trail.pause()
  const look = (): Promise<Verdict> => oracle.check(acknowledged, check)
  const verdict = await look().catch(async (error: unknown) => {
    if (!(error instanceof AuditUnavailableError)) throw error
    await servers.storeUp()
    return look()
  })
  return { faults, verdict, longestLagMs: Math.max(0, ...fleet.stored.map(({ lagMs }) => lagMs)) }
}

/** Waits until each of these partitions had an insert acknowledged after that time. @returns When the last of them had. */
async function flows(scene: Scene, { at, partitions }: Injected, check: () => void): Promise<number> {
  const firsts = new Map<number, number>()
  let seen = 0
  const look = (): number | undefined => {
    check()
    for (const stored of scene.fleet.stored.slice(seen)) {
      seen++
      if (stored.at > at && !firsts.has(stored.partition)) firsts.set(stored.partition, stored.at)
    }
    const times = partitions.map((partition) => firsts.get(partition))
    return times.every((time) => time !== undefined) ? Math.max(at, ...times) : undefined
  }
  const missing = (): string => partitions.filter((partition) => !firsts.has(partition)).join(', ')
  return until('', look, { timeoutMs: FLOW_TIMEOUT_MS }).catch((error: unknown) => {
    throw new Error(`partitions ${missing()} do not flow again: ${String(error)}`, { cause: error })
  })
}
