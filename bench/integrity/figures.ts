/** What the benchmark of integrity measures, as its results keep it. */
import { median } from '../support/results.ts'

export const STAGES = ['caller', 'sealing', 'consumer', 'storage', 'verify', 'increment', 'evidence'] as const
export type Stage = (typeof STAGES)[number]

/** One figure, measured in several rounds: its median counts. */
export interface Figure {
  readonly stage: Stage
  readonly name: string
  readonly unit: string
  /** Undefined: said beside another figure, for comparison. */
  readonly bound?: { readonly most: number } | { readonly least: number } | undefined
  readonly rounds: readonly number[]
}

export interface IntegrityPart {
  /** Events of the increment; the other counts follow. */
  readonly events: number
  readonly figures: readonly Figure[]
  /** What was measured, in words. */
  readonly notes: readonly string[]
}

/** What a stage is told. */
export interface IntegrityBenchmark {
  readonly brokers: readonly string[]
  /** For keys, spools, tables. */
  readonly directory: string
  readonly only: ReadonlySet<Stage>
  readonly events: number
  readonly rounds: number
  readonly seconds: number
  readonly profileDir: string | undefined
  readonly say: (line: string) => void
}

/** What a stage gives. */
export type Measured = Pick<IntegrityPart, 'figures' | 'notes'>

export interface JudgedFigure {
  /** `at most 1`; empty without a bound. */
  readonly wanted: string
  readonly met: boolean | undefined
}

export function judge({ bound, rounds }: Figure): JudgedFigure {
  if (bound === undefined) return { wanted: '', met: undefined }
  const middle = median(rounds)
  if ('most' in bound) return { wanted: `at most ${short(bound.most)}`, met: middle <= bound.most }
  return { wanted: `at least ${short(bound.least)}`, met: middle >= bound.least }
}

/** `0.93 (0.88 to 1.2; 9 rounds)` */
export function found({ rounds }: Figure): string {
  const [lowest, highest] = [Math.min(...rounds), Math.max(...rounds)]
  const times = rounds.length === 1 ? '1 round' : `${rounds.length} rounds`
  return `${short(median(rounds))} (${short(lowest)} to ${short(highest)}; ${times})`
}

/** Three digits that say something. */
function short(value: number): string {
  const whole = value === 0 ? 1 : 1 + Math.floor(Math.log10(Math.abs(value)))
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.min(6, Math.max(0, 3 - whole)) })
}
