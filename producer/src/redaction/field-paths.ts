/** Paths into a record that a caller names: `input_messages[*].content`, `tool_output.rows[0].name`, `reason`. */
import { REDACTED_FIELDS } from '@agent-audit/schemas'

/** Every key, or every element. */
const ANY = '*'

/** Rest of a path, below the current value. Empty: the path names the current value. */
export type PathRest = readonly string[]

/** A path: a field that redaction looks at, then keys and indexes. */
export const FIELD_PATH: RegExp = new RegExp(
  String.raw`^(?:${REDACTED_FIELDS.join('|')})(?:\.(?:\*|[^.*[\]][^.[\]]*)|\[(?:\d+|\*)\])*$`,
)

export class FieldPaths {
  readonly #byField: Map<string, PathRest[]> = new Map<string, PathRest[]>()

  /** @param paths - Each matches {@link FIELD_PATH}. */
  constructor(paths: readonly string[]) {
    for (const path of paths) {
      const [field = '', ...rest] = path.match(/[^.[\]]+/g) ?? []
      this.#byField.set(field, [...(this.#byField.get(field) ?? []), rest])
    }
  }

  /** The paths into a field, without its name; undefined when there are none. */
  of(field: string): readonly PathRest[] | undefined {
    return this.#byField.get(field)
  }
}

/** The paths that lead through a key or an index, from there on. */
export function descend(rests: readonly PathRest[], key: string | number): PathRest[] {
  const below: PathRest[] = []
  for (const [first, ...rest] of rests) if (first === ANY || first === String(key)) below.push(rest)
  return below
}

/** Whether one of the paths names the current value. */
export function isNamed(rests: readonly PathRest[]): boolean {
  return rests.some((rest) => rest.length === 0)
}
