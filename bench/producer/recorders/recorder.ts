/** A contender of the producer benchmark: it takes events. */
import type { SessionScript } from '../../support/sessions.ts'

export interface RecorderOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  /** Folder for its files. */
  readonly directory: string
}

export interface Recorder {
  /** Records one session; resolves when it can take the next. @returns The number of events, and the bytes of their values. */
  play(script: SessionScript): Promise<{ events: number; bytes: number }>
  /** Resolves when all events have reached their destination. @throws Error if an event was refused. */
  flush(): Promise<void>
  close(): Promise<unknown>
}

export type OpenRecorder = (order: RecorderOrder) => Promise<Recorder>
