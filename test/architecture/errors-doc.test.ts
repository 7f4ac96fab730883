/** docs/errors.md is what an operator finds a code in: it names every code there is, and none that is not. */
import { expect, it } from 'vitest'
import { filesBelow, PACKAGES, readText } from './sources.ts'

const union = /export type ErrorCode =([\s\S]*?)\n\n/.exec(readText('schemas/src/errors.ts'))?.[1] ?? ''
const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code = '']) => code)
const rows = [...readText('docs/errors.md').matchAll(/^\| `([A-Z_]+)` \|([^|]*)\|([^|]*)\|$/gm)]

it('docs/errors.md lists each code once, under the heading that errors.ts has it under', () => {
  expect(codes.length).toBeGreaterThan(10)
  expect(rows.map(([, code]) => code)).toEqual(codes)
})

it('each code has a cause and a remedy', () => {
  const empty = rows.filter(([, , cause = '', remedy = '']) => cause.trim().length < 20 || remedy.trim().length < 20)
  expect(empty.map(([, code]) => code)).toEqual([])
})

it('each code is raised somewhere', () => {
  const files = PACKAGES.flatMap((name) => filesBelow(`${name}/src`))
  const sources = files.filter(({ path }) => path !== 'schemas/src/errors.ts')
  expect(codes.filter((code) => !sources.some(({ text }) => text.includes(`'${code}'`)))).toEqual([])
})
