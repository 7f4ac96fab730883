/** All contenders of the producer benchmark, by name. */
import { array } from './array.ts'
import { inBatches, kafkajs, oneByOne, platformatic } from './kafka-clients.ts'
import { openTelemetry } from './open-telemetry.ts'
import { ours } from './ours.ts'
import type { OpenRecorder } from './recorder.ts'
import { sqlite } from './sqlite.ts'

export const RECORDERS = {
  'ours, disk': ours('disk', 'secrets'),
  'ours, disk, no redaction': ours('disk', 'off'),
  'ours, broker': ours('broker', 'secrets'),
  'ours, broker, no redaction': ours('broker', 'off'),
  'kafkajs, 1000 a send': inBatches(kafkajs),
  'kafkajs, a send each, not awaited': oneByOne(kafkajs, { awaited: false }),
  'kafkajs, a send each, awaited': oneByOne(kafkajs, { awaited: true }),
  '@platformatic/kafka, 1000 a send': inBatches(platformatic),
  'SQLite, a connection each': sqlite,
  'OpenTelemetry spans, not exported': openTelemetry,
  'array in memory': array,
} satisfies Record<string, OpenRecorder>

export type RecorderName = keyof typeof RECORDERS
