/** Judges the ranking of decisive steps on the failed runs of Who&When, beside guesses by position alone. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import {
  DECISIVE_STEP_RULES,
  DECISIVE_STEP_WEIGHTS,
  rankSteps,
  type RuleWeights,
  type RunStep,
} from '@agent-audit/detect'
import type { JudgePart, Section } from '../part.ts'
import { type LabelledRun, trainWeights } from './train.ts'

const FOLDS = 5
const VARIABLE = 'AUDIT_WHO_AND_WHEN_DIR'

interface Rate {
  readonly first: number
  readonly three: number
}

export const whoAndWhenPart: JudgePart = {
  name: 'who-and-when',
  async run() {
    const directory = process.env[VARIABLE]
    if (directory === undefined) return `${VARIABLE} does not name the directory of the data set`
    return report(await readRuns(directory))
  },
}

function report(runs: readonly LabelledRun[]): Section {
  const tuned = runs.filter(isTuning)
  const other = runs.filter((run) => !isTuning(run))
  const shipped = rateOf(other, (run) => order(run, DECISIVE_STEP_WEIGHTS))
  const again = rateOf(other, (run) => order(run, trainWeights(tuned)))
  const crossed = crossValidated(runs)
  const rows: [string, Rate][] = [
    ['rules, weights as shipped (tuned on the other half)', shipped],
    ['rules, tuned again now on the other half', again],
    [`rules, ${FOLDS}-fold by question`, crossed],
    ['rules, on the half that they were tuned on', rateOf(tuned, (run) => order(run, DECISIVE_STEP_WEIGHTS))],
    ['step 1, 2, 3', rateOf(other, () => [1, 2, 3])],
    ['step 1, 0, 3', rateOf(other, () => [1, 0, 3])],
    ['step 0, 1, 2', rateOf(other, () => [0, 1, 2])],
  ]
  return {
    title: 'The step that broke a failed run',
    text: [
      `${runs.length} failed runs of teams of agents (Who&When, the part that was generated), split by a digest of the question: ${tuned.length} to tune, ${other.length} to report.`,
      'The rules were written after reading about 30 of the runs, of both halves. Which rules stayed was picked while looking at cross-validation over all 126 runs, and the penalty comes from trials over all of them: only the weights are held apart, so the figures of the other half are too good.',
      'Every run failed, so this says nothing of false alarms: the ranking ships as a hint (rankDecisiveSteps), not as a finding.',
    ],
    tables: [
      {
        title: 'Decisive step',
        columns: ['method', 'first', 'among three'],
        rows: rows.map(([name, rate]) => [name, round(rate.first), round(rate.three)]),
      },
      {
        title: 'Weights',
        columns: ['rule', 'weight'],
        rows: DECISIVE_STEP_RULES.map((rule) => [rule, DECISIVE_STEP_WEIGHTS[rule]]),
      },
    ],
    targets: [
      { name: 'decisive step first', wanted: 'at least 0.33', got: shipped.first, met: shipped.first >= 0.33 },
      { name: 'decisive step among three', wanted: 'at least 0.60', got: shipped.three, met: shipped.three >= 0.6 },
    ],
    misses: missesOf(other),
  }
}

/** Which half a run is of follows from its question alone. */
function isTuning({ question }: LabelledRun): boolean {
  return digest(question) % 2 === 0
}

function digest(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0)
}

/** Indices of the steps, the most suspicious one first. */
function order({ steps }: LabelledRun, weights: RuleWeights): number[] {
  return rankSteps(steps, weights).map(({ step }) => steps.indexOf(step))
}

function rateOf(runs: readonly LabelledRun[], guess: (run: LabelledRun) => readonly number[]): Rate {
  const places = runs.map((run) => guess(run).indexOf(run.decisive))
  const within = (count: number): number => places.filter((place) => place >= 0 && place < count).length / runs.length
  return { first: within(1), three: within(3) }
}

function crossValidated(runs: readonly LabelledRun[]): Rate {
  const fold = ({ question }: LabelledRun): number => (digest(question) >>> 1) % FOLDS
  const weights = Array.from({ length: FOLDS }, (_, index) => trainWeights(runs.filter((run) => fold(run) !== index)))
  return rateOf(runs, (run) => order(run, weights[fold(run)] ?? DECISIVE_STEP_WEIGHTS))
}

function missesOf(runs: readonly LabelledRun[]): string[] {
  const missed = runs.filter((run) => order(run, DECISIVE_STEP_WEIGHTS).indexOf(run.decisive) > 2)
  return missed.slice(0, 5).map((run) => {
    const guess = order(run, DECISIVE_STEP_WEIGHTS)[0]
    return `${run.session}: step ${run.decisive} broke it, the ranking has step ${guess} first: both steps look alike to rules, only what is true tells them apart`
  })
}

interface Message {
  readonly name: string
  readonly content: string
  readonly kind: string
}

async function readRuns(directory: string): Promise<LabelledRun[]> {
  const runs = parseLines<{ session: string; messages: Message[] }>(
    gunzipSync(await readFile(join(directory, 'sessions.jsonl.gz'))),
  )
  const labels = parseLines<{ session: string; mistake_step: number; question_ID: string }>(
    await readFile(join(directory, 'labels.jsonl')),
  )
  const byRun = new Map(labels.map((label) => [label.session, label]))
  return runs.map(({ session, messages }) => {
    const label = byRun.get(session)
    if (label === undefined) throw new Error(`labels.jsonl has no line for the run ${session}`)
    return { session, question: label.question_ID, steps: messages.map(toStep), decisive: label.mistake_step }
  })
}

function toStep({ name, content, kind }: Message, index: number): RunStep {
  return { id: String(index), speaker: name, text: content, isOutput: kind === 'code_execution' }
}

function parseLines<T>(bytes: Buffer): T[] {
  return bytes
    .toString('utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T)
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
