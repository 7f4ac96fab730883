/** The process around a command. */
export interface Terminal {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether `out` shows colours. */
  readonly colors: boolean
}

/**
 * Exit codes (docs/errors.md has the table). `verify` also has 2, for gaps: wrong use is 64, as in sysexits.h, so that a script
 * never takes a missing variable for a loss.
 */
export const EXIT = { done: 0, finding: 1, wrongUse: 64, notCompleted: 3 } as const
