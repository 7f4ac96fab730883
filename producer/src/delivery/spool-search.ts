/**
 * Looks in a directory for the spools of dead owners: those of dead runs, and, where delivery of this run has failed before,
 * this run's own. Looks again for files that cannot be read now.
 */
import { adoptSpools } from '@agent-audit/spool'
import type { AdoptedSpool } from '@agent-audit/spool'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { toProblem } from './protocol.ts'
import type { Loss } from './protocol.ts'
import type { Reporter } from './reporter.ts'
import type { Work } from './work.ts'

const RETRY_MS = 1000
const LONGEST_RETRY_MS = 60_000

export interface SpoolSearchOptions {
  readonly directory: string
  /** This run, where it may have spools of a delivery that has failed. */
  readonly resumed: string | undefined
  readonly work: Work
  readonly reporter: Reporter
  /** Takes a spool, which is locked until it is closed. */
  readonly found: (spool: AdoptedSpool) => void
  /** Takes the loss of a spool that is damaged as a whole. */
  readonly lost: (loss: Loss) => void
  /** The spools that this delivery has open. */
  readonly open: () => readonly AdoptedSpool[]
}

export class SpoolSearch {
  readonly #options: SpoolSearchOptions
  /** The run whose chunks are to be reported, until they are. */
  #resumed: string | undefined
  /** Looks that had to leave a file. */
  #failures = 0

  constructor(options: SpoolSearchOptions) {
    this.#options = options
    this.#resumed = options.resumed
  }

  look(): void {
    if (this.#adopt() && this.#resumed === undefined) return
    this.#options.work.later(() => this.look(), retryMs(this.#failures++))
  }

  /** @returns whether no file had to be left. */
  #adopt(): boolean {
    const { directory, found, lost, open } = this.#options
    try {
      const { spools, damaged, skipped, busy } = adoptSpools({ directory })
      for (const spool of spools) found(spool)
      for (const { file, runId, reason } of damaged) {
        lost({ runId, first: null, last: null, file, code: 'SPOOL_CORRUPT', reason })
      }
      for (const { file, reason } of skipped) {
        this.#problem(new AuditUnavailableError('SPOOL_UNAVAILABLE', `left ${file}: ${reason}`))
      }
      const ours = new Set(open().map(({ file }) => file))
      this.#report([...skipped, ...busy.filter(({ file }) => !ours.has(file))])
      return skipped.length === 0
    } catch (error) {
      this.#problem(error)
      return false
    }
  }

  /**
   * Reports the chunks that are left of a delivery that has failed, once all of its files are open here. Another process may
   * have adopted one of them, in the moment when its lock was free: the chunks in it are not known before it has been drained.
   */
  #report(left: readonly { readonly runId: string }[]): void {
    const run = this.#resumed
    if (run === undefined || left.some(({ runId }) => runId === run)) return
    const own = this.#options.open().filter(({ runId }) => runId === run)
    this.#options.reporter.resumed(own.flatMap((spool) => spool.firstSeqs()))
    this.#resumed = undefined
  }

  #problem(error: unknown): void {
    this.#options.reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
  }
}

/** The pause after so many failures. */
export function retryMs(failures: number): number {
  return Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** Math.min(failures, 16))
}
