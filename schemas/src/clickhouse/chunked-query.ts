/** Long lists as parameters of queries. */

/**
 * Of the longest elements in use, ids of 32 hex digits, this many take 70 KB. ClickHouse takes no parameter above 128 KiB
 * (`http_max_field_value_size`), and says so with an error that looks as if it would pass.
 */
const MOST_ELEMENTS = 2000

/** Asks about a list piece by piece, one after the other; nothing is asked about an empty one. Answers are in order. */
export async function askInPieces<Element, Row>(
  list: readonly Element[],
  ask: (piece: readonly Element[]) => Promise<readonly Row[]>,
): Promise<Row[]> {
  const rows: Row[] = []
  for (let start = 0; start < list.length; start += MOST_ELEMENTS) {
    for (const row of await ask(list.slice(start, start + MOST_ELEMENTS))) rows.push(row)
  }
  return rows
}
