/** Standard output, for a log collector: a line for each checkpoint. It cannot be read back. */
import { checkpointLine } from '@agent-audit/seals'
import type { SignedCheckpoint } from '../seal-tables.ts'
import type { CheckpointSink } from './sink.ts'

export class OutputSink implements CheckpointSink {
  readonly name = 'stdout'
  readonly #write: (line: string) => void

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  put({ note }: SignedCheckpoint): Promise<void> {
    this.#write(checkpointLine(note))
    return Promise.resolve()
  }
}
