/** Metrics and log lines of the seals. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Logger } from 'pino'
import type { PartitionObserver } from './pipeline/observer.ts'
import type { SealTopicsObserver } from './pipeline/sealing/seal-topics.ts'

type Labels = { readonly topic: string; readonly partition: number }

export interface SealMetrics {
  observe(labels: Labels, log: Logger): Pick<PartitionObserver, 'sealsBegin' | 'sealed' | 'unsealed'>
  topics(log: Logger): SealTopicsObserver
}

const UNSEALED = 'stored offsets stay without a seal: their rows cannot be made again from the log'

export function createSealMetrics(registry: Registry): SealMetrics {
  const registers = [registry]
  const labelNames = ['topic', 'partition'] as const
  const seals = new Counter({
    name: 'audit_seals_total',
    help: 'Seals of stored ranges that their topic has.',
    labelNames,
    registers,
  })
  const unsealed = new Counter({
    name: 'audit_unsealed_offsets_total',
    help: 'Stored offsets that stay without a seal, since their rows could not be made again from the log.',
    labelNames,
    registers,
  })
  const waiting = new Gauge({
    name: 'audit_seals_waiting',
    help: '1 while the seals of a topic cannot be signed, or sent.',
    labelNames: ['topic'] as const,
    registers,
  })
  return {
    observe(labels, log) {
      // A counter that appears with its first count hides that count from Prometheus.
      for (const counter of [seals, unsealed]) counter.inc(labels, 0)
      return {
        sealsBegin: (first) => log.info({ ...labels, first }, 'seals begin: the group knows of none below this offset'),
        sealed(range) {
          seals.inc(labels)
          log.debug({ ...labels, ...range }, 'range sealed')
        },
        unsealed({ first, last }, reason) {
          unsealed.inc(labels, last - first + 1)
          log.error({ ...labels, first, last, reason }, UNSEALED)
        },
      }
    },
    topics: (log) => ({
      sealsWait(topic, error) {
        waiting.set({ topic }, 1)
        log.warn({ topic, error: String(error) }, 'seals wait: they cannot be signed or sent')
      },
      sealsGoOn(topic) {
        waiting.set({ topic }, 0)
        log.info({ topic }, 'seals are sent again')
      },
    }),
  }
}
