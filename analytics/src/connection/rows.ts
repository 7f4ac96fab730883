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
