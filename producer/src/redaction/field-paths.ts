/** Places in a record that a caller names: `input_messages[*].content`, `tool_output.rows[0].name`, `reason`. */
import { REDACTED_FIELDS } from '@agent-audit/schemas'

/** Every key, or every element. */
const ANY = '*'

/** Rest of a path, below the value that is looked at. Empty: the value itself is meant. */
export type PathRest = readonly string[]

export const FIELD_PATH: RegExp = new RegExp(
  String.raw`^(?:${REDACTED_FIELDS.join('|')})(?:\.[^.[\]]+|\[(?:\d+|\*)\])*$`,
)

export class FieldPaths {
  readonly #byField: Map<string, PathRest[]> = new Map<string, PathRest[]>()

  /** @param paths - Each as {@link FIELD_PATH} has it. */
  constructor(paths: readonly string[]) {
    for (const path of paths) {
      const [field = '', ...rest] = path.match(/[^.[\]]+/g) ?? []
      this.#byField.set(field, [...(this.#byField.get(field) ?? []), rest])
    }
  }

  /** What is named in a field; undefined when nothing is. */
  of(field: string): readonly PathRest[] | undefined {
    return this.#byField.get(field)
  }
}

/** What is named below a key or an index. */
export function descend(rests: readonly PathRest[], key: string | number): PathRest[] {
  const below: PathRest[] = []
  for (const [first, ...rest] of rests) if (first === ANY || first === String(key)) below.push(rest)
  return below
}

/** Whether the value itself is named. */
export function isNamed(rests: readonly PathRest[]): boolean {
  return rests.some((rest) => rest.length === 0)
}
