/** What the producer benchmark measures: something that takes events. */
import type { SessionScript } from '../sessions.ts'

export interface RecorderOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  /** For what lies on disk. */
  readonly directory: string
}

export interface Recorder {
  /** Records one session; resolves when it takes the next. @returns How many events, and the bytes of their values. */
  play(script: SessionScript): Promise<{ events: number; bytes: number }>
  /** Resolves when all is where it is meant to be. @throws Error if something was refused. */
  flush(): Promise<void>
  close(): Promise<unknown>
}

export type OpenRecorder = (order: RecorderOrder) => Promise<Recorder>
