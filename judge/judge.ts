/** Runs parts, prints what each found, writes the report, and compares it with the committed one. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Detector, DETECTORS } from '@agent-audit/detect'
import type { JudgePart, Section } from './part.ts'
import { readReport } from './report/read-report.ts'
import { escaped, type Judged, renderReport } from './report/render-report.ts'
import { summaryOf } from './report/summary.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const REPORT = 'docs/detectors.md'
const FORMATTER = fileURLToPath(new URL('../node_modules/.bin/oxfmt', import.meta.url))

export interface JudgeOptions {
  readonly parts: readonly JudgePart[]
  /** Names of the parts to run; empty: all. */
  readonly only: readonly string[]
  readonly seed: number
  readonly say: (text: string) => void
  /** @defaultValue docs/detectors.md */
  readonly file?: string | undefined
  /** Text of the report to compare with. @defaultValue that of the last commit, else the file's */
  readonly committed?: string | undefined
  readonly detectors?: readonly Detector[] | undefined
}

/** @returns The exit code: 1 if a part failed, or a target is missed that the committed report had met. */
export async function judge(options: JudgeOptions): Promise<number> {
  const { parts, only, seed, say, file = `${ROOT}${REPORT}`, detectors = DETECTORS } = options
  const present = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const committed = readReport(options.committed ?? committedText() ?? present)
  const judged: Judged[] = []
  const faults: string[] = []
  for (const part of parts) {
    const result = only.length > 0 && !only.includes(part.name) ? undefined : await run(part, seed)
    if (result instanceof Error) faults.push(`${part.name} failed: ${result.stack ?? result.message}`)
    judged.push({ name: part.name, result: result instanceof Error ? `it failed: ${result.message}` : result })
    if (typeof result === 'object' && !(result instanceof Error)) {
      faults.push(...lostTargets(part.name, result, committed.get(part.name)?.met ?? []))
    }
    say(summaryOf(part.name, result))
  }
  writeFileSync(file, renderReport({ detectors, judged, seed, before: readReport(present) }))
  execFileSync(FORMATTER, [file], { cwd: ROOT, stdio: 'ignore' })
  for (const fault of faults) say(`${fault}\n`)
  return faults.length === 0 ? 0 : 1
}

/** A part that fails stops no other. */
async function run(part: JudgePart, seed: number): Promise<Section | string | Error> {
  try {
    const result = await part.run({ seed })
    const names = typeof result === 'string' ? [] : result.targets.map(({ name }) => name)
    const repeated = names.find((name, index) => names.indexOf(name) !== index)
    return repeated === undefined ? result : new Error(`two targets have the name "${repeated}"`)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function lostTargets(part: string, { targets }: Section, metBefore: readonly string[]): string[] {
  return metBefore.flatMap((name) => {
    const now = targets.find((target) => plain(escaped(target.name)) === plain(name))
    if (now?.met === true) return []
    const before = `${part}: "${now?.name ?? name}" was met in the committed report`
    return [now === undefined ? `${before} and is not judged now` : `${before}; now ${now.got}, wanted ${now.wanted}`]
  })
}

/** A name as the formatter leaves it: escapes may come and go. */
function plain(name: string): string {
  return name.replaceAll(/[\s\\]+/g, ' ').trim()
}

/** The last commit's report: a second run must not forget what the first one lost. Undefined outside of a repository. */
function committedText(): string | undefined {
  try {
    const stdio = ['ignore', 'pipe', 'ignore'] as const
    return execFileSync('git', ['show', `HEAD:./${REPORT}`], { cwd: ROOT, encoding: 'utf8', stdio: [...stdio] })
  } catch {
    return undefined
  }
}
