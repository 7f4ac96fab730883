/** Finds stretches of calls that repeat. Each function gives non-overlapping stretches, the longest ones from the left. */
import type { Step } from './loop-steps.ts'

export interface Stretch {
  readonly calls: readonly Step[]
  /** How many different actions it repeats. */
  readonly period: number
  /** How often it repeats them. */
  readonly times: number
}

/** A job that is under way says so: then the same answer is no loop until it has come very often. */
const WAITING =
  /\b(pending|running|in[ _-]?progress|processing|queued|waiting|not (yet )?(ready|finished|complete)|starting|building|scheduled|retry[ _-]?after)\b/i

export function isWaiting({ result }: Step): boolean {
  return WAITING.test((result?.tool_output ?? '').slice(0, 2000))
}

/** Whether `b` does and gets what `a` did, with neither a pause nor news before it. */
function isAgain(a: Step | undefined, b: Step | undefined): boolean {
  return a !== undefined && b !== undefined && !b.isFresh && a.action === b.action && a.came === b.came
}

/** Whether the step after a stretch gets another result of one of its actions: that was waited for. */
function isResolved(stretch: readonly Step[], next: Step | undefined): boolean {
  if (next?.came === undefined || next.failed) return false
  const same = stretch.filter(({ action }) => action === next.action)
  return same.length > 0 && same.every(({ came }) => came !== next.came)
}

/** Equal actions with equal results in a row. */
export function repeatedCalls(steps: readonly Step[]): Stretch[] {
  const found: Stretch[] = []
  for (let first = 0; first < steps.length;) {
    let end = first + 1
    while (isAgain(steps[first], steps[end])) end++
    const calls = steps.slice(first, end)
    if (calls.length > 1 && !isResolved(calls, steps[end])) found.push({ calls, period: 1, times: calls.length })
    first = end
  }
  return found
}

/** A-B-A-B, and longer ones up to `longest`: the same actions in the same order with the same results. */
export function cycles(steps: readonly Step[], longest: number): Stretch[] {
  const found: Stretch[] = []
  for (let first = 0; first < steps.length;) {
    let best: Stretch | undefined
    for (let period = 2; period <= longest; period++) {
      let end = first + period
      while (isAgain(steps[end - period], steps[end])) end++
      const calls = steps.slice(first, end)
      const times = Math.floor(calls.length / period)
      const actions = new Set(calls.slice(0, period).map(({ action }) => action)).size
      if (times > 1 && actions > 1 && calls.length > (best?.calls.length ?? 0)) best = { calls, period, times }
    }
    if (best !== undefined && !isResolved(best.calls, steps[first + best.calls.length])) found.push(best)
    first += best?.calls.length ?? 1
  }
  return found
}

/** Calls of one tool that fail in the same way, until one of them succeeds: then the retries were right. */
export function equalErrors(steps: readonly Step[]): (Stretch & { readonly isBatch: boolean })[] {
  const found: (Stretch & { readonly isBatch: boolean })[] = []
  for (const ofTool of Map.groupBy(steps, ({ call }) => call.tool_name).values()) {
    for (let first = 0; first < ofTool.length;) {
      let end = first + 1
      while (ofTool[end]?.failed === true && ofTool[end]?.came === ofTool[first]?.came) end++
      const next = ofTool[end]
      const succeeds = next !== undefined && !next.failed && next.came !== undefined
      if (ofTool[first]?.failed === true && end - first > 1 && !succeeds) {
        const calls = ofTool.slice(first, end)
        const [period, times] = [new Set(calls.map(({ action }) => action)).size, calls.length]
        // Items of a batch: each with arguments of its own, after at least as many that went well.
        const good = ofTool.slice(0, first).filter(({ failed, came }) => !failed && came !== undefined).length
        found.push({ calls, period, times, isBatch: period === times && good >= times })
      }
      first = end
    }
  }
  return found
}

/** The longest stretch in which nearly every call with its result was there before. */
export function noProgress(
  steps: readonly Step[],
  { least, newShare }: { least: number; newShare: number },
): Stretch[] {
  const seen = new Set<string>()
  const news = steps.map(({ action, came, isLive }) => {
    const isNew = isLive || came === undefined || !seen.has(`${action}\n${came}`)
    seen.add(`${action}\n${came}`)
    return isNew
  })
  let longest: readonly Step[] = []
  for (let first = 0; first + Math.max(least, longest.length + 1) <= steps.length; first++) {
    let fresh = 0
    for (let end = first; end < steps.length; end++) {
      if (end > first && steps[end]?.isFresh === true) break
      fresh += Number(news[end])
      const count = end + 1 - first
      if (fresh / count > newShare && count >= least) break
      if (count >= least && count > longest.length) longest = steps.slice(first, end + 1)
    }
  }
  if (longest.length === 0) return []
  const period = new Set(longest.map(({ action }) => action)).size
  return [{ calls: longest, period, times: longest.length }]
}
