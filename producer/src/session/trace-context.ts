/** The trace of the moment, from whatever traces this process. */
import type { AuditTrailOptions } from '../options/options.ts'

/** Never throws, whatever the caller's function does: the trace is a comfort, the event is not. */
export function readTrace(lookUp: AuditTrailOptions['traceContext']): { traceId: string; spanId: string } | undefined {
  if (lookUp === undefined) return undefined
  try {
    const found = lookUp()
    if (found === undefined) return undefined
    return { traceId: found.traceId.toLowerCase().toWellFormed(), spanId: found.spanId.toLowerCase().toWellFormed() }
  } catch {
    return undefined
  }
}
