/**
 * The readable report of a bundle. It is a function of the records alone, so that a checker makes it again and compares: a
 * report says nothing that the sealed records do not say. Its form belongs to version 1 of the bundle. Recorded text is hostile:
 * it is escaped, the page has no script and loads nothing.
 */
import { createHash } from 'node:crypto'
import { labelsOf } from './field-labels.ts'
import { isBehind, type EvidenceRecord } from './records.ts'

const STYLE =
  'body{font:15px sans-serif;margin:2em;overflow-wrap:anywhere}dl{display:grid;grid-template-columns:14em 1fr}' +
  'dd{margin:0;white-space:pre-wrap}i{color:#fff;background:#a00}'

/** Characters that a browser hides, or that change the order of text. A fixed list: it must be the same in every checker. */
const HIDDEN = new RegExp(
  String.raw`[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f` +
    String.raw`\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]`,
  'gu',
)

/** @param records - Of one session, in any order. */
export function renderReport(sessionId: string, records: readonly EvidenceRecord[]): string {
  const hash = createHash('sha256').update(STYLE).digest('base64')
  const runs = new Set(records.map(({ runId }) => runId)).size
  const sections = records.toSorted(byTime).map((record, index) => section(record, index + 1))
  return `<!doctype html>
<meta charset='utf-8'>
<meta http-equiv='Content-Security-Policy' content="default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'">
<title>Session ${escaped(sessionId)}</title>
<style>${STYLE}</style>
<h1>Session ${escaped(sessionId)}</h1>
<p>Events: ${records.length}. Runs: ${runs}. Times are UTC, by the producer's clock. This page shows what the records say.
Whether they are whole and unchanged is the verdict of a check of the bundle, not of this page.</p>
${sections.join('')}`
}

function byTime(one: EvidenceRecord, other: EvidenceRecord): number {
  const [time, others] = [one.fields['timestamp'] as number, other.fields['timestamp'] as number]
  if (time !== others) return time - others
  if (one.runSeq !== other.runSeq) return one.runSeq - other.runSeq
  return isBehind(one, other) ? -1 : 1
}

function section({ version, fields }: EvidenceRecord, number: number): string {
  const labels = labelsOf(fields)
  const rows = version.fields.map(({ name }) => {
    const [value, label] = [fields[name] ?? null, labels.get(name)]
    if (value === null && label !== 'erased') return ''
    const term = label === undefined ? name : `${name} (${label})`
    return `<dt>${term}</dt><dd>${value === null ? '' : escaped(textOf(name, value))}</dd>\n`
  })
  const heading = [String(number), ...HEADING.map((name) => escaped(textOf(name, fields[name])))].join(' · ')
  return `<section>\n<h2>${heading}</h2>\n<dl>\n${rows.join('')}</dl>\n</section>\n`
}

const HEADING = ['timestamp', 'event_type', 'agent_id']

function textOf(name: string, value: unknown): string {
  if (name === 'timestamp') return timeOf(value as number)
  // `0`, `-5`, `0.25`, `1e+21`, `NaN`: ECMA-262, Number::toString.
  return Buffer.isBuffer(value) ? value.toString('hex') : String(value)
}

/** Microseconds since 1970 as `2026-11-24T10:00:00.123456Z`. */
function timeOf(micros: number): string {
  const seconds = Math.floor(micros / 1_000_000)
  const rest = String(micros - seconds * 1_000_000).padStart(6, '0')
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${rest}Z`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#x27;',
}

function escaped(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
    .replaceAll(
      HIDDEN,
      (character) => `<i>U+${character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}</i>`,
    )
}
