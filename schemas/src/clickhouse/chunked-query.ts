/** Queries about a list that is too long for one query parameter. */

/**
 * The longest elements in use are ids of 32 hex digits: this many of them take 70 KB. ClickHouse refuses a parameter above
 * 128 KiB (`http_max_field_value_size`), with an error that looks temporary.
 */
const MOST_ELEMENTS = 2000

export interface ChunkLimits<Element> {
  /** Most elements of a chunk. @defaultValue no limit */
  readonly elements?: number
  /** Most of what `sizeOf` says, of all elements of a chunk together; a larger element is a chunk of its own. @defaultValue no limit */
  readonly size?: number
  readonly sizeOf?: (element: Element) => number
}

/** Cuts a list into chunks, in order; an empty list has none. */
export function inChunks<Element>(
  list: readonly Element[],
  { elements = Infinity, size = Infinity, sizeOf = () => 0 }: ChunkLimits<Element>,
): Element[][] {
  const chunks: Element[][] = []
  let [chunk, used]: [Element[], number] = [[], 0]
  for (const element of list) {
    const more = sizeOf(element)
    if (chunk.length > 0 && (chunk.length >= elements || used + more > size)) {
      chunks.push(chunk)
      ;[chunk, used] = [[], 0]
    }
    chunk.push(element)
    used += more
  }
  return chunk.length === 0 ? chunks : [...chunks, chunk]
}

/** Asks about a list chunk by chunk, one query after the other; an empty list asks nothing. Answers are in order. */
export async function askInChunks<Element, Row>(
  list: readonly Element[],
  ask: (chunk: readonly Element[]) => Promise<readonly Row[]>,
): Promise<Row[]> {
  const rows: Row[] = []
  for (const chunk of inChunks(list, { elements: MOST_ELEMENTS })) for (const row of await ask(chunk)) rows.push(row)
  return rows
}
