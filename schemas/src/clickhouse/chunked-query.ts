/** Queries about a list that is too long for one query parameter. */

/**
 * The longest elements in use are ids of 32 hex digits: this many of them take 70 KB. ClickHouse refuses a parameter above
 * 128 KiB (`http_max_field_value_size`), with an error that looks temporary.
 */
const MOST_ELEMENTS = 2000

/** Asks about a list chunk by chunk, one query after the other; an empty list asks nothing. Answers are in order. */
export async function askInChunks<Element, Row>(
  list: readonly Element[],
  ask: (chunk: readonly Element[]) => Promise<readonly Row[]>,
): Promise<Row[]> {
  const rows: Row[] = []
  for (let start = 0; start < list.length; start += MOST_ELEMENTS) {
    for (const row of await ask(list.slice(start, start + MOST_ELEMENTS))) rows.push(row)
  }
  return rows
}
