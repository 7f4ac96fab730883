/**
 * `npm run measure:redaction` prints what 'secrets' finds in the corpus and where it hits in text without secrets: the source of
 * this repository, and recorded sessions (AUDIT_SESSIONS_FILE).
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readSizeMix } from '../../../../bench/support/size-mix.ts'
import { measure, table } from './measure.ts'
import { redactTexts } from './redact.ts'

function countHits(what: string, texts: readonly string[]): void {
  const hits: Record<string, number> = {}
  for (const recorded of redactTexts(texts)) {
    for (const [rule, count] of Object.entries(recorded.hits)) hits[rule] = (hits[rule] ?? 0) + count
  }
  const kilobytes = Math.round(texts.reduce((sum, { length }) => sum + length, 0) / 1000)
  process.stdout.write(`${what}: ${texts.length} texts, ${kilobytes} KB, hits ${JSON.stringify(hits)}\n`)
}

function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : []
}

process.stdout.write(`${table(measure())}\n\n`)
const names = execFileSync('git', ['ls-files', '*.ts', '*.md', '*.json', '*.yml', '*.sql'], { encoding: 'utf8' }).split(
  '\n',
)
const sources = names.filter(
  (name) => name !== '' && !name.startsWith('test/producer/redaction') && name !== 'package-lock.json',
)
countHits(
  'source',
  sources.map((name) => readFileSync(name, 'utf8')),
)
const file = process.env['AUDIT_SESSIONS_FILE']
// A decision without reasoning is not recorded.
if (file !== undefined)
  countHits(
    'sessions',
    textsOf(readSizeMix(file).sessions).filter((text) => text !== ''),
  )
