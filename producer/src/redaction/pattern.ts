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

/** The character here and the two before it as one number, the same for both cases. Other characters may have the same. */
export function lettersAt(text: string, last: number): number {
  // A read in front of the text would make this slow for good.
  const first = last > 1 ? text.charCodeAt(last - 2) : 0
  const second = last > 0 ? text.charCodeAt(last - 1) : 0
  return ((first & 31) << 10) | ((second & 31) << 5) | (text.charCodeAt(last) & 31)
}

/** The numbers that {@link lettersAt} gives at the end of a word; of a word of two characters, whatever precedes. */
export function lettersOf(word: string): readonly number[] {
  const last = lettersAt(word, word.length - 1)
  return word.length > 2 ? [last] : Array.from({ length: 32 }, (_, first) => (first << 10) | last)
}

/** How many numbers {@link lettersAt} gives. */
export const LETTERS: number = 1 << 15
