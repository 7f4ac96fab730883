/** What can be found in a text. */

/** Counts a hit of a rule, and returns what to put in its place. */
export type Hit = (rule: string) => string

export interface Pattern {
  /**
   * A cheap look, made at every text. MUST be true wherever {@link redact} would change the text, and also when it is
   * given JSON with such a text in it.
   */
  mayMatch(text: string): boolean
  /** MUST take time in proportion to the length of the text. */
  redact(text: string, hit: Hit): string
}

/** A copy with other flags, without the caller's `g` and `y` too: they would keep a place between two uses. */
export function withFlags(pattern: RegExp, added: string): RegExp {
  return new RegExp(pattern.source, pattern.flags.replaceAll(/[gy]/g, '').replaceAll(added, '') + added)
}

/** A pattern of the caller's own. What JSON it may be in is not known, so every text is looked at. */
export function ownPattern(name: string, pattern: RegExp): Pattern {
  const find = withFlags(pattern, 'g')
  return {
    mayMatch: () => true,
    redact: (text, hit) => text.replace(find, (match) => (match === '' ? '' : hit(name))),
  }
}
