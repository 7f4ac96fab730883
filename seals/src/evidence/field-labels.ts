/** The fields of a record whose text is not readable, as its field_notes say. */

/** `encrypted`: under a data key that may be destroyed by now. `erased`: it was destroyed before, and the field has no text. */
export type FieldLabel = 'encrypted' | 'erased'

const NONE: ReadonlyMap<string, FieldLabel> = new Map<string, FieldLabel>()

export function labelsOf(fields: Readonly<Record<string, unknown>>): ReadonlyMap<string, FieldLabel> {
  const notes = fields['field_notes']
  if (typeof notes !== 'string' || !/"(encrypted|erased)"/.test(notes)) return NONE
  const labels = new Map<string, FieldLabel>()
  for (const [field, note] of Object.entries(objectOf(notes))) {
    if (typeof note !== 'object' || note === null) continue
    if ((note as { encrypted?: unknown }).encrypted === true) labels.set(field, 'encrypted')
    else if (Object.hasOwn(note, 'erased')) labels.set(field, 'erased')
  }
  return labels
}

function objectOf(json: string): object {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
