/**
 * A hint for a failed run: which step probably broke it. Rules say what each step does, a weight for each rule turns them into
 * an order. It is wrong in more than half of the runs, so it is no finding.
 */
import type { Session, SessionEvent } from '../detector.ts'

/** One step of a run: what an agent said, or what a tool gave back. */
export interface RunStep {
  readonly id: string
  readonly speaker: string
  readonly text: string
  readonly isOutput: boolean
}

export interface RankedStep {
  readonly step: RunStep
  /** 0 to 1; all steps of a run together have 1. */
  readonly share: number
  /** The rules that hold for it. */
  readonly rules: readonly Rule[]
}

const CODE = /```|\bdef \w+\(|\bimport \w+/
const FAILED = /exitcode: [1-9]|traceback \(most recent|\b\w*(error|exception):/i
const EMPTY = /(output:|^)\s*(\[\]|none|null|0|\{\}|''|"")?\s*$/i
const NO_CODE = /^there is no code from/i
const GUESS =
  /\bassum|hypothetical|simulat|placeholder|sample data|mock|for demonstration|example data|let's say|suppose|dummy/i
const CLAIM =
  /\bi have (reviewed|verified|found|accessed|checked|confirmed)|upon (reviewing|checking|examination)|manual(ly)? (inspect|verif|review|check)|according to my|based on my knowledge/i
const CONCLUSION = /therefore|final answer|conclusion|the answer is|\bthus\b|confirmed/i
const REPAIR = /it (seems|appears|looks like)|let's (correct|try again|fix|adjust)|error|issue/i
const AGREEMENT = /\bi agree|agreed|is correct|confirms|as expected/i

interface Place {
  readonly steps: readonly RunStep[]
  readonly index: number
  readonly step: RunStep
}
const next = ({ steps, index }: Place): RunStep | undefined => {
  const following = steps[index + 1]
  return following?.isOutput === true ? following : undefined
}
const previous = ({ steps, index }: Place): RunStep | undefined => steps[index - 1]
const said = ({ step }: Place): boolean => !step.isOutput
const code = (step: RunStep): boolean => !step.isOutput && CODE.test(step.text)

const RULES = {
  is_output: ({ step }: Place): boolean => step.isOutput,
  opens: ({ index }: Place): boolean => index === 0,
  opens_with_code: ({ index, step }: Place): boolean => index === 0 && code(step),
  first_answer: ({ steps, index }: Place): boolean =>
    index > 0 && steps.findIndex((s, i) => i > 0 && !s.isOutput) === index,
  first_code: ({ steps, index }: Place): boolean => index > 0 && steps.findIndex((s, i) => i > 0 && code(s)) === index,
  last_code: ({ steps, index }: Place): boolean => index > 0 && steps.findLastIndex(code) === index,
  near_the_end: ({ steps, index }: Place): boolean => index >= steps.length - 3,
  hardly_anything: ({ step }: Place): boolean => step.text.trim().length < 60 || /^\s*terminate/i.test(step.text),
  fails_next: (at: Place): boolean => FAILED.test(next(at)?.text ?? ''),
  runs_next: (at: Place): boolean => next(at) !== undefined && !FAILED.test(next(at)?.text ?? 'error:'),
  yields_nothing: (at: Place): boolean => next(at) !== undefined && EMPTY.test(next(at)?.text ?? 'x'),
  runs_no_code: (at: Place): boolean => NO_CODE.test(next(at)?.text ?? ''),
  after_no_code: (at: Place): boolean => NO_CODE.test(previous(at)?.text ?? ''),
  guesses: (at: Place): boolean => at.index > 0 && said(at) && GUESS.test(at.step.text),
  claims_a_look: (at: Place): boolean => at.index > 0 && said(at) && CLAIM.test(at.step.text),
  concludes: (at: Place): boolean => at.index > 0 && said(at) && CONCLUSION.test(at.step.text),
  repairs: (at: Place): boolean => at.index > 0 && said(at) && REPAIR.test(at.step.text.slice(0, 300)),
  agrees: (at: Place): boolean => at.index > 0 && said(at) && AGREEMENT.test(at.step.text.slice(0, 400)),
  many_numbers: (at: Place): boolean => at.index > 0 && (at.step.text.match(/\d+/g)?.length ?? 0) >= 8,
  verifies: ({ step }: Place): boolean => /verif|valid/i.test(step.speaker),
} as const
export type Rule = keyof typeof RULES
export type RuleWeights = Readonly<Record<Rule, number>>
export const DECISIVE_STEP_RULES: readonly Rule[] = Object.keys(RULES) as Rule[]

/** Tuned on one half of the runs of Who&When by `judge/who-and-when`; which rules there are was picked on all of them. */
export const DECISIVE_STEP_WEIGHTS: RuleWeights = {
  is_output: -1.1,
  opens: 0.18,
  opens_with_code: 0.96,
  first_answer: 0.18,
  first_code: 0.24,
  last_code: 0.63,
  near_the_end: -0.39,
  hardly_anything: -0.42,
  fails_next: 0.57,
  runs_next: 0.21,
  yields_nothing: 0.03,
  runs_no_code: -0.25,
  after_no_code: -0.21,
  guesses: 0.9,
  claims_a_look: 0.25,
  concludes: 0.75,
  repairs: -0.29,
  agrees: -0.39,
  many_numbers: 0.74,
  verifies: -0.02,
}

export function rulesOf(steps: readonly RunStep[]): Rule[][] {
  return steps.map((step, index) => DECISIVE_STEP_RULES.filter((rule) => RULES[rule]({ steps, index, step })))
}

/** The steps of a run, the most suspicious one first. */
export function rankSteps(steps: readonly RunStep[], weights: RuleWeights = DECISIVE_STEP_WEIGHTS): RankedStep[] {
  const rules = rulesOf(steps)
  const powers = rules.map((held) => Math.exp(held.reduce((sum, rule) => sum + weights[rule], 0)))
  const all = powers.reduce((sum, power) => sum + power, 0)
  return steps
    .map((step, index) => ({ step, share: (powers[index] ?? 0) / all, rules: rules[index] ?? [] }))
    .toSorted((a, b) => b.share - a.share)
}

/** The same for a stored session: its model answers, decisions and tool results are the steps. */
export function rankDecisiveSteps(session: Session): RankedStep[] {
  return rankSteps(session.events.flatMap(stepOf))
}

function stepOf(event: SessionEvent): RunStep[] {
  const { event_id: id, event_type, agent_id: speaker } = event
  if (event_type === 'tool_result') {
    const text = event.error === null ? (event.tool_output ?? '') : `Error: ${event.error}`
    return [{ id, speaker: event.tool_name ?? '', text, isOutput: true }]
  }
  const asked = event.tool_calls_requested === null ? '' : JSON.stringify(event.tool_calls_requested)
  if (event_type === 'llm_call') return [{ id, speaker, text: `${event.output_text ?? ''} ${asked}`, isOutput: false }]
  if (event_type === 'decision') return [{ id, speaker, text: event.reasoning ?? '', isOutput: false }]
  return []
}
