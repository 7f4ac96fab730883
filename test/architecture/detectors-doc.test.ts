/** An analyst looks a detector up in docs/detectors.md: it has each, with the method and the thresholds that run. */
import { DETECTORS } from '@agent-audit/detect'
import { expect, it } from 'vitest'
import { describeDetectors } from '../../judge/report/render-report.ts'
import { readText } from './sources.ts'

const [, list = ''] = /\n## List of detectors\n([\s\S]*?)\n## Judgement\n/.exec(readText('docs/detectors.md')) ?? []

it('docs/detectors.md lists every detector as its file describes it; `npm run judge` writes it', () => {
  expect(plain(list)).toBe(plain(describeDetectors(DETECTORS)))
})

it('names and thresholds of detectors are unambiguous', () => {
  const names = DETECTORS.map(({ name }) => name)
  expect(names).toEqual([...new Set(names)])
  expect(names.filter((name) => !/^[a-z]+\.[a-z_]+$/.test(name))).toEqual([])
})

/** Without what the formatter may change: white space, escapes. */
function plain(markdown: string): string {
  return markdown.replaceAll(/[\s\\]+/g, ' ').trim()
}
