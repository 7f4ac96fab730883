/** Finds the targets of this folder, and runs one with inputs that its seed decides. */
import { readdirSync } from 'node:fs'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import type { FuzzTarget } from './target.ts'

const FOLDER = new URL('.', import.meta.url)
const SUFFIX = '.fuzz.ts'

/** When a run of a target ends, if no input breaks its promise before. */
export type Limit = { readonly cases: number } | { readonly milliseconds: number }

export interface Result {
  readonly cases: number
  /** The input that breaks the promise, made as small as possible, and how; undefined: none did. */
  readonly failure: string | undefined
}

/** Each file `<name>.fuzz.ts` of this folder exports a target as `fuzz`. */
export async function findTargets(): Promise<readonly FuzzTarget[]> {
  const files = readdirSync(FOLDER)
    .filter((file) => file.endsWith(SUFFIX))
    .toSorted()
  return Promise.all(
    files.map(async (file) => {
      const { fuzz } = (await import(new URL(file, FOLDER).href)) as { fuzz: FuzzTarget }
      return fuzz
    }),
  )
}

/** Repeats a run to the letter: the same seed makes the same inputs in the same order. */
export async function runTarget({ property }: FuzzTarget, seed: number, limit: Limit): Promise<Result> {
  const parameters =
    'cases' in limit
      ? { seed, numRuns: limit.cases }
      : {
          seed,
          numRuns: Number.MAX_SAFE_INTEGER,
          interruptAfterTimeLimit: limit.milliseconds,
          markInterruptAsFailure: false,
        }
  const details = await fc.check(property, parameters)
  if (!details.failed) return { cases: details.numRuns, failure: undefined }
  // With the error itself: the report has it in its stack trace alone, if at all.
  const failure = `${await fc.asyncDefaultReportMessage(details)}\n${inspect(details.errorInstance)}`
  return { cases: details.numRuns, failure }
}
