/** Recall and false hits of 'secrets' on the corpus, as docs/redaction.md shows them. */
import { DELIMITED_HITS, LONG_HITS, NAMED_HITS, NAMED_LOOK_ALIKES } from './named.ts'
import { CONTEXT_HITS, CONTEXT_LOOK_ALIKES } from './context.ts'
import { TOKEN_HITS, TOKEN_LOOK_ALIKES } from './tokens.ts'
import type { Case } from './tokens.ts'
import { redactTexts } from './redact.ts'

export const HITS: readonly Case[] = [
  ...TOKEN_HITS,
  ...CONTEXT_HITS,
  ...[...NAMED_HITS, ...DELIMITED_HITS, ...LONG_HITS].map((hit) => ({ ...hit, rule: 'key' })),
]
export const LOOK_ALIKES: readonly Omit<Case, 'secret'>[] = [
  ...TOKEN_LOOK_ALIKES,
  ...CONTEXT_LOOK_ALIKES,
  ...NAMED_LOOK_ALIKES.map(({ text }) => ({ rule: 'key', text })),
]

export interface Measured {
  readonly rule: string
  readonly hits: number
  readonly found: number
  readonly lookAlikes: number
  readonly falseHits: number
}

export function measure(): Measured[] {
  const left = redactTexts(HITS.map(({ text }) => text))
  const found = HITS.map(({ rule, secret }, index) => ({
    rule,
    isFound: left[index]?.text.includes(secret.slice(-6)) === false,
  }))
  const seen = redactTexts(LOOK_ALIKES.map(({ text }) => text))
  const others = LOOK_ALIKES.map(({ rule, text }, index) => ({ rule, isHit: seen[index]?.text !== text }))
  return [...new Set(HITS.map(({ rule }) => rule))].toSorted().map((rule) => {
    const own = found.filter((each) => each.rule === rule)
    const like = others.filter((each) => each.rule === rule)
    return {
      rule,
      hits: own.length,
      found: own.filter(({ isFound }) => isFound).length,
      lookAlikes: like.length,
      falseHits: like.filter(({ isHit }) => isHit).length,
    }
  })
}

export function table(measured: readonly Measured[]): string {
  const rows = measured.map(({ rule, hits, found, lookAlikes, falseHits }) => {
    return `| \`${rule}\` | ${found} of ${hits} | ${falseHits} of ${lookAlikes} |`
  })
  return ['| Rule | Secrets found | False hits |', ...rows].join('\n')
}
