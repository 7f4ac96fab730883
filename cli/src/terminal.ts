/** The process around a command. */
export interface Terminal {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether `out` shows colours. */
  readonly colors: boolean
}

/** Exit codes, the same for every command. */
export const EXIT = { done: 0, finding: 1, wrongUse: 2, notCompleted: 3 } as const
