/** What a scenario is: one anomaly, or a change that only looks like one, put into a made fleet. */
import type { Finding, Thresholds } from '@agent-audit/detect'
import type { Fleet } from './fleet.ts'
import type { Random } from './random.ts'

/** Where an anomaly lies. A finding is right if its detector, agent and session agree, and its time is not outside. */
export interface Truth {
  readonly agent_id: string
  /** Null where the anomaly is not one of a single session. */
  readonly session_id: string | null
  /** Of a finding about an hour or a day. @defaultValue the judged week */
  readonly from?: Date | undefined
  readonly until?: Date | undefined
  /** Thresholds of the detector for this agent alone, such as its budget. */
  readonly thresholds?: Thresholds | undefined
  /** What the finding has to say beside, such as the change that it names. */
  readonly says?: ((finding: Finding) => boolean) | undefined
}

export interface Scenario {
  /** Name of the detector that has to find it, or must not accuse it. */
  readonly detector: string
  /** What happens, in a few words. */
  readonly name: string
  readonly kind: 'strong' | 'mild' | 'benign'
  /** Other detectors that may report the same anomaly; a finding of theirs on it counts neither way. */
  readonly also?: readonly string[] | undefined
  /** How often a fleet has it, each time at another agent. @defaultValue 1 */
  readonly times?: number | undefined
  /** Changes the behaviour of an agent (`fleet.take`, `agent.changes`) or adds whole sessions (`fleet.sessions`). */
  apply(fleet: Fleet, random: Random): Truth
}
