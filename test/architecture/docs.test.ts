/** Every file that a document names exists, and so does the target of every link. */
import { existsSync, globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { filesBelow, PACKAGES, readText, ROOT } from './sources.ts'

const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'kafka/README.md',
  ...globSync('docs/**/*.md', { cwd: ROOT, exclude: (name) => name === 'node_modules' }),
]
const sources = [...PACKAGES, 'test'].flatMap((name) => filesBelow(name).map(({ path }) => path))

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
