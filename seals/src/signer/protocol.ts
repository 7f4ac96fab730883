/**
 * The lines that a signer and its clients exchange over a Unix socket (docs/integrity.md). Texts and notes travel as Base64.
 *
 *     signer: audit-signer/v1 <vkey>              once, when a client connects
 *     client: sign <Base64 of the text>
 *     signer: signed <Base64 of the note>         or
 *             later <milliseconds>                or
 *             refused <Base64 of the reason> [<Base64 of the note that the signer has signed in this place>]
 */
import { fromBase64 } from '../notes/lines.ts'

export const GREETING = 'audit-signer/v1'
/** Base64 of the largest note, twice, and the words around it. */
export const MAX_LINE_BYTES = 196_608

export type Answer =
  | { readonly kind: 'signed'; readonly note: string }
  | { readonly kind: 'later'; readonly ms: number }
  | { readonly kind: 'refused'; readonly reason: string; readonly signed?: string | undefined }

function encode(text: string): string {
  return Buffer.from(text).toString('base64')
}

function decode(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : fromBase64(text)?.toString()
}

export function formatRequest(text: string): string {
  return `sign ${encode(text)}\n`
}

/** @returns the text to sign; undefined, if the line is no request */
export function parseRequest(line: string): string | undefined {
  return line.startsWith('sign ') ? decode(line.slice('sign '.length)) : undefined
}

export function formatAnswer(answer: Answer): string {
  if (answer.kind === 'signed') return `signed ${encode(answer.note)}\n`
  if (answer.kind === 'later') return `later ${Math.ceil(answer.ms)}\n`
  const signed = answer.signed === undefined ? '' : ` ${encode(answer.signed)}`
  return `refused ${encode(answer.reason)}${signed}\n`
}

/** @returns undefined, if the line is no answer */
export function parseAnswer(line: string): Answer | undefined {
  const [kind, first, second, ...more] = line.split(' ')
  if (more.length > 0) return undefined
  if (kind === 'later' && /^[0-9]{1,9}$/.test(first ?? '')) return { kind, ms: Number(first) }
  const text = decode(first)
  if (text === undefined) return undefined
  if (kind === 'signed' && second === undefined) return { kind, note: text }
  return kind === 'refused' ? { kind, reason: text, signed: decode(second) } : undefined
}

/** Cuts what a socket delivers into lines. @returns false, once a line is longer than any that is allowed */
export function lineSplitter(onLine: (line: string) => void): (part: string) => boolean {
  let rest = ''
  return (part) => {
    const lines = (rest + part).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.length <= MAX_LINE_BYTES) onLine(line)
    return rest.length <= MAX_LINE_BYTES && lines.every(({ length }) => length <= MAX_LINE_BYTES)
  }
}
