/** An array in memory: the cost of any program that keeps its events. */
import { setImmediate } from 'node:timers/promises'
import { type PlainEvent, toPlainEvents } from './plain-events.ts'
import type { OpenRecorder } from './recorder.ts'

export const array: OpenRecorder = () => {
  const kept: PlainEvent[] = []
  return Promise.resolve({
    async play(script) {
      const events = toPlainEvents(script)
      kept.push(...events)
      await setImmediate()
      return { events: events.length, bytes: 0 }
    },
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
  })
}
