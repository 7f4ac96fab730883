/** Documents name files and tests that exist, and their links lead somewhere. */
import { existsSync, globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { filesBelow, PACKAGES, readText, ROOT } from './sources.ts'

const DOCUMENTS = globSync(['*.md', '*/README.md', 'docs/**/*.md'], {
  cwd: ROOT,
  exclude: (name) => name === 'node_modules',
})
const sources = [...PACKAGES, 'test', 'judge'].flatMap((name) => filesBelow(name).map(({ path }) => path))

describe.each(DOCUMENTS)('%s', (document) => {
  const text = readText(document)

  it('names source files that exist', () => {
    const named = [...text.matchAll(/`([\w./-]+\.(?:test\.)?ts)`/g)].map(([, name = '']) => name)
    expect(named.filter((name) => !sources.some((path) => path === name || path.endsWith(`/${name}`)))).toEqual([])
  })

  it('links to files that exist', () => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link = '']) => link)
    expect(links.filter((link) => !existsSync(join(ROOT, dirname(document), link)))).toEqual([])
  })
})

describe('an invariant of docs/architecture.md', () => {
  const [, section = ''] = readText('docs/architecture.md').split('## Invariants that are not obvious')
  const invariants = [
    ...(section.split('\n## ')[0] ?? '').matchAll(/^\d+\. [\s\S]*?(?=^\d+\. |^###|$(?![\s\S]))/gm),
  ].map(([text]) => text)
  const guards = ['mutations', 'shared-inserts'].map((file) => readText(`test/mutations/${file}.ts`)).join('')

  it('names the test that holds it, or says that none does', () => {
    expect(invariants.length).toBeGreaterThan(20)
    expect(invariants.filter((text) => !/`test\/|[Ss]imulation|No test holds/.test(text))).toEqual([])
  })

  it('quotes titles of tests, and guards of the mutations, that exist', () => {
    const quoted = invariants.flatMap((text) => {
      // The first line is the invariant, the rest says where it is kept and tested.
      const evidence = text.slice(text.indexOf('\n'))
      const files = [...evidence.matchAll(/`(test\/[\w./-]+\.ts)`/g)].map(([, file = '']) => readText(file))
      const titles = [...evidence.matchAll(/"([^"]+)"/g)].map(([, title = '']) => title)
      return titles.map((title) => ({
        title,
        parts: title.split('…').map((part) => part.trim()),
        texts: [...files, guards],
      }))
    })
    expect(quoted.length).toBeGreaterThan(30)
    const missing = quoted.filter(
      ({ parts, texts }) => !texts.some((each) => parts.every((part) => each.includes(part))),
    )
    expect(missing.map(({ title }) => title)).toEqual([])
  })
})
