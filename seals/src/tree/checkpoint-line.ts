/** A checkpoint as one line, in files and on standard output: Base64 of its note. */
import { parseNote } from '../notes/note.ts'
import { parseCheckpoint } from './checkpoint.ts'

export function checkpointLine(note: string): string {
  return `${Buffer.from(note).toString('base64')}\n`
}

/** @returns the note; undefined, if the line is no whole checkpoint: one that was torn in the middle of a write. */
export function readCheckpointLine(line: string): { readonly note: string; readonly size: number } | undefined {
  const bytes = Buffer.from(line, 'base64')
  if (bytes.length === 0 || bytes.toString('base64') !== line) return undefined
  try {
    const note = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return { note, size: parseCheckpoint(parseNote(note).text).size }
  } catch {
    return undefined
  }
}
