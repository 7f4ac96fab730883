/**
 * After its first response kafkajs looks for pending requests every millisecond for ever, with a negative timeout that
 * Node 24 warns of (tulios/kafkajs#1751). This file loads a part of kafkajs: import it only where kafkajs is needed.
 */
import requestQueue from 'kafkajs/src/network/requestQueue/index.js'

interface RequestQueue {
  readonly pending: readonly unknown[]
  readonly throttledUntil: number
  scheduleCheckPendingRequests(): void
}

/** Lets a request queue with nothing pending rest. Patches this thread's copy of kafkajs, once however often it is called. */
export function stopIdlePolling(): void {
  const { prototype } = requestQueue as { prototype: RequestQueue & { patched?: boolean } }
  if (prototype.patched === true) return
  // oxlint-disable-next-line typescript/unbound-method -- called on its queue below
  const schedule = prototype.scheduleCheckPendingRequests
  prototype.patched = true
  prototype.scheduleCheckPendingRequests = function scheduleIfNeeded(this: RequestQueue): void {
    if (this.pending.length > 0 || this.throttledUntil > Date.now()) schedule.call(this)
  }
}
