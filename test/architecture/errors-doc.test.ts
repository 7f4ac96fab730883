/** An operator looks codes up in docs/errors.md: it has every code, and no other. */
import { expect, it } from 'vitest'
import { filesBelow, PACKAGES, readText } from './sources.ts'

const union = /export type ErrorCode =([\s\S]*?)\n\n/.exec(readText('schemas/src/errors.ts'))?.[1] ?? ''
const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code = '']) => code)
/** A code's section: its heading, the cause, the remedy. */
const SECTION = /^### `([A-Z_]+)`\n\n(.+)\n\n\*\*Remedy:\*\* (.+)$/gm
const sections = [...readText('docs/errors.md').matchAll(SECTION)]

it('docs/errors.md lists each code once, in the order of errors.ts, with its cause and remedy', () => {
  expect(codes.length).toBeGreaterThan(10)
  expect(sections.map(([, code]) => code)).toEqual(codes)
})

it('each code is raised somewhere', () => {
  const files = PACKAGES.flatMap((name) => filesBelow(`${name}/src`))
  const sources = files.filter(({ path }) => path !== 'schemas/src/errors.ts')
  expect(codes.filter((code) => !sources.some(({ text }) => text.includes(`'${code}'`)))).toEqual([])
})
