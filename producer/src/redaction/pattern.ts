/** Patterns that find and redact parts of a text. */

/** Counts a hit of a rule, and returns the marker that replaces it. */
export type Hit = (rule: string) => string

export interface Pattern {
  /**
   * A cheap test, made on every text. MUST be true wherever {@link redact} would change the text, and also on JSON that
   * contains such a text.
   */
  mayMatch(text: string): boolean
  /** MUST take time in proportion to the length of the text. */
  redact(text: string, hit: Hit): string
}

/** A copy with other flags, and without the caller's `g` and `y`: with those a RegExp keeps its lastIndex between two uses. */
export function withFlags(pattern: RegExp, added: string): RegExp {
  return new RegExp(pattern.source, pattern.flags.replaceAll(/[gy]/g, '').replaceAll(added, '') + added)
}

/** A pattern of the caller. Its form within JSON is unknown, so it is tried on every text. */
export function callerPattern(name: string, pattern: RegExp): Pattern {
  const find = withFlags(pattern, 'g')
  return {
    mayMatch: () => true,
    redact: (text, hit) => text.replace(find, (match) => (match === '' ? '' : hit(name))),
  }
}
