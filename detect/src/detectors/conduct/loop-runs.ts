/** Finds stretches of calls that repeat. Each function gives non-overlapping stretches, the longest ones from the left. */
import type { Call } from './calls.ts'

export interface Stretch {
  readonly calls: readonly Call[]
  /** How many different actions it repeats. */
  readonly period: number
  /** How often it repeats them. */
  readonly times: number
}

/** A job that is under way says so: then the same answer is no loop until it has come very often. */
const WAITING =
  /\b(pending|running|in[ _-]?progress|processing|queued|waiting|not (yet )?(ready|finished|complete)|starting|building|scheduled|retry[ _-]?after)\b/i

export function isWaiting({ result }: Call): boolean {
  return WAITING.test((result?.tool_output ?? '').slice(0, 2000))
}

function isSame(a: Call | undefined, b: Call | undefined): boolean {
  return a !== undefined && b !== undefined && a.action === b.action && a.came === b.came
}

/** Equal actions with equal results in a row. What ends in another result of the same action is no loop: it was waited for. */
export function repeatedCalls(calls: readonly Call[]): Stretch[] {
  const found: Stretch[] = []
  for (let first = 0; first < calls.length;) {
    let end = first + 1
    while (isSame(calls[first], calls[end])) end++
    const isResolved = calls[end]?.action === calls[first]?.action && calls[end]?.came !== undefined
    if (!isResolved && end - first > 1) {
      found.push({ calls: calls.slice(first, end), period: 1, times: end - first })
    }
    first = end
  }
  return found
}

/** A-B-A-B, and longer ones up to `longest`: the same actions in the same order with the same results. */
export function cycles(calls: readonly Call[], longest: number): Stretch[] {
  const found: Stretch[] = []
  for (let first = 0; first < calls.length;) {
    let best: Stretch | undefined
    for (let period = 2; period <= longest; period++) {
      let end = first + period
      while (isSame(calls[end], calls[end - period])) end++
      const times = Math.floor((end - first) / period)
      const actions = new Set(calls.slice(first, first + period).map(({ action }) => action)).size
      if (times > 1 && actions > 1 && end - first > (best?.calls.length ?? 0)) {
        best = { calls: calls.slice(first, end), period, times }
      }
    }
    if (best !== undefined) found.push(best)
    first += best?.calls.length ?? 1
  }
  return found
}

/** Calls of one tool that fail in the same way, until one of them succeeds: then the retries were right. */
export function equalErrors(calls: readonly Call[]): Stretch[] {
  const found: Stretch[] = []
  for (const ofTool of Map.groupBy(calls, ({ call }) => call.tool_name).values()) {
    for (let first = 0; first < ofTool.length;) {
      let end = first + 1
      while (ofTool[end]?.failed === true && ofTool[end]?.came === ofTool[first]?.came) end++
      const next = ofTool[end]
      const isResolved = next !== undefined && !next.failed && next.came !== undefined
      if (ofTool[first]?.failed === true && end - first > 1 && !isResolved) {
        const same = ofTool.slice(first, end)
        const period = new Set(same.map(({ action }) => action)).size
        found.push({ calls: same, period, times: end - first })
      }
      first = end
    }
  }
  return found
}

/** The longest stretch in which nearly every call with its result was there before. */
export function noProgress(
  calls: readonly Call[],
  { least, newShare }: { least: number; newShare: number },
): Stretch[] {
  const seen = new Set<string>()
  const news = calls.map(({ action, came }) => {
    const isNew = came === undefined || !seen.has(`${action}\n${came}`)
    seen.add(`${action}\n${came}`)
    return isNew
  })
  for (let first = 0; first + least <= calls.length; first++) {
    let end = first
    let fresh = 0
    let best = 0
    for (; end < calls.length; end++) {
      fresh += Number(news[end])
      if (fresh / (end + 1 - first) > newShare && end + 1 - first >= least) break
      if (end + 1 - first >= least) best = end + 1
    }
    if (best === 0) continue
    const stale = calls.slice(first, best)
    return [{ calls: stale, period: new Set(stale.map(({ action }) => action)).size, times: stale.length }]
  }
  return []
}
