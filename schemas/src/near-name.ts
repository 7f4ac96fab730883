/** What an error says of a name that is not known: which known name it may stand for. */

/** A longer name is not a misspelling of any name here. */
const LONGEST = 64

/** Says that there is no such field, option or the like, and names the nearest one, if one is near. */
export function noSuch(what: string, name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? `no such ${what}` : `no such ${what}; did you mean ${near}?`
}

/** The known name that begins with `name`, or else differs from it in the fewest letters, at most in a third of them. */
function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > LONGEST) return undefined
  const plain = plainOf(name)
  const least = { letters: Math.ceil(plain.length / 3) + 1, name: undefined as string | undefined }
  for (const each of known) {
    const other = plainOf(each)
    const letters = plain.length > 2 && other.startsWith(plain) ? 0 : distance(plain, other)
    if (letters < least.letters) Object.assign(least, { letters, name: each })
  }
  return least.name
}

/** `sessionId` and `session-id` stand for `session_id`. */
function plainOf(name: string): string {
  return name.replaceAll(/[-_]/g, '').toLowerCase()
}

/** Letters to add, drop or replace (Levenshtein). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let above = 0; above < one.length; above++) {
    const next = [above + 1]
    for (let left = 0; left < other.length; left++) {
      const replaced = (row[left] ?? 0) + (one[above] === other[left] ? 0 : 1)
      next.push(Math.min(replaced, (next[left] ?? 0) + 1, (row[left + 1] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
