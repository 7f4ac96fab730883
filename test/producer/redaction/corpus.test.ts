/** The rules of 'secrets' on a corpus: what they find, and what they leave. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { HITS, LOOK_ALIKES, measure, table } from './corpus/measure.ts'
import { redactInJson, redactTexts } from './corpus/redact.ts'

const hits = HITS.map(({ text }) => text)
const lookAlikes = LOOK_ALIKES.map(({ text }) => text)

describe('the corpus', () => {
  it('has at least 300 hits and 300 look-alikes, and each rule has both', () => {
    expect(HITS.length).toBeGreaterThanOrEqual(300)
    expect(new Set(lookAlikes).size).toBeGreaterThanOrEqual(300)
    expect(rules(LOOK_ALIKES)).toEqual(rules(HITS))
  })

  it('is found: no secret of it is recorded, in a text or in JSON, nor its tail', () => {
    const kept = redactTexts(hits).flatMap(({ text }, index) => {
      const { rule, secret } = HITS[index] ?? { rule: '', secret: '' }
      return text.includes(secret.slice(-6)) ? [`${rule}: ${text.slice(0, 100)}`] : []
    })
    expect(kept).toEqual([])
  })

  it('is left alone where it only looks like a secret', () => {
    expect(redactTexts(lookAlikes).map(({ text }) => text)).toEqual(lookAlikes)
  })

  it('is found by the quick look wherever the patterns find it: in JSON, and in JSON within JSON', () => {
    const texts = [...hits, ...lookAlikes]
    const nested = texts.map((text) => JSON.stringify([text]))
    for (const each of [texts, nested, nested.map((text) => JSON.stringify([text]))]) {
      const alone = redactTexts(each).map(({ text }) => text)
      expect(redactInJson(each)).toEqual(alone)
    }
  })

  it('is valid JSON afterwards where it was before', () => {
    const nested = [...hits, ...lookAlikes].map((text) => JSON.stringify({ a: [text], b: 1 }))
    const broken = redactTexts(nested).filter(({ text }) => !isJson(text))
    expect(broken.map(({ text }) => text.slice(0, 200))).toEqual([])
  })

  it('does not change the second time', () => {
    const once = redactTexts(hits).map(({ text }) => text)
    expect(redactTexts(once).map(({ text }) => text)).toEqual(once)
  })

  it('gives the table of docs/redaction.md', () => {
    const doc = readFileSync(new URL('../../../docs/redaction.md', import.meta.url), 'utf8')
    expect(rows(doc).filter((row) => !row.startsWith('| -'))).toEqual(rows(table(measure())))
  })
})

function rules(cases: readonly { readonly rule: string }[]): string[] {
  return [...new Set(cases.map(({ rule }) => rule))].toSorted()
}

/** Of a table in Markdown, without the spaces that align it. */
function rows(text: string): string[] {
  return text.split('\n').flatMap((line) => (line.startsWith('| ') ? [line.replaceAll(/\s+/g, ' ')] : []))
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
