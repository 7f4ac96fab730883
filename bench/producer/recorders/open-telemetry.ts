/**
 * OpenTelemetry: one span for each event, with its fields as attributes, into a BatchSpanProcessor with its default settings.
 * Nothing is exported over a network: this measures only the making of spans, their queue and their hand-over. A full queue
 * drops spans, as in production.
 */
import { setImmediate } from 'node:timers/promises'
import type { Attributes } from '@opentelemetry/api'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { toPlainEvents } from './plain-events.ts'
import type { OpenRecorder } from './recorder.ts'

/** ExportResultCode.SUCCESS. */
const SUCCESS = 0

export const openTelemetry: OpenRecorder = () => {
  let exported = 0
  let recorded = 0
  const processor = new BatchSpanProcessor({
    export(spans, done) {
      exported += spans.length
      done({ code: SUCCESS })
    },
    shutdown: () => Promise.resolve(),
  })
  const provider = new BasicTracerProvider({ spanProcessors: [processor] })
  const tracer = provider.getTracer('bench')
  return Promise.resolve({
    async play(script) {
      const events = toPlainEvents(script)
      let bytes = 0
      for (const event of events) {
        const attributes = attributesOf(event)
        bytes += JSON.stringify(attributes).length
        tracer.startSpan(event.event_type, { attributes }).end()
      }
      recorded += events.length
      await setImmediate()
      return { events: events.length, bytes }
    },
    async flush() {
      await provider.forceFlush()
      if (exported < recorded) process.stderr.write(`${recorded - exported} of ${recorded} spans dropped\n`)
    },
    close: () => provider.shutdown(),
  })
}

/** Attributes are flat: nested values become JSON text. */
function attributesOf(event: Readonly<Record<string, unknown>>): Attributes {
  const entries = Object.entries(event).map(([name, value]) => [
    name,
    typeof value === 'object' ? JSON.stringify(value) : value,
  ])
  return Object.fromEntries(entries) as Attributes
}
