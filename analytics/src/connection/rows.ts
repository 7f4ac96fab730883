/** Values of rows. Servers differ in how their JSON gives 64-bit integers: as text or as numbers. */

export type Row = Readonly<Record<string, unknown>>

export function text<R extends Row>(row: R, key: keyof R): string {
  return String(row[key])
}

export function number<R extends Row>(row: R, key: keyof R): number {
  return Number(row[key])
}

export function numberOrNull<R extends Row>(row: R, key: keyof R): number | null {
  return row[key] === null ? null : number(row, key)
}

/**
 * Sums of columns that are Nullable(Int64), as digits: no sum of 64 bits holds two of the largest values, and no double all of
 * their digits.
 */
export function exactSum(column: string): string {
  return `toString(sum(toInt128(${column})))`
}

/** Numbers of a row from digits; `exact` has the digits of those that a double cannot hold, and is absent without any. */
export function numbersOf<R extends Row, Name extends keyof R & string>(
  row: R,
  names: readonly Name[],
): Record<Name, number | null> & { readonly exact?: Readonly<Record<string, string>> } {
  const numbers = Object.fromEntries(names.map((name) => [name, numberOrNull(row, name)])) as Record<
    Name,
    number | null
  >
  const inexact = names.filter((name) => numbers[name] !== null && !Number.isSafeInteger(numbers[name]))
  if (inexact.length === 0) return numbers
  return { ...numbers, exact: Object.fromEntries(inexact.map((name) => [name, text(row, name)])) }
}
