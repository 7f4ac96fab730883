/** What a command may know of the world around it. */
export interface Terminal {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether `out` shows colours. */
  readonly colors: boolean
}

/** Exit codes, the same for every command. */
export const EXIT = { done: 0, finding: 1, wrongUse: 2, cannotTell: 3 } as const
