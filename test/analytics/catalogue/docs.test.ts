/** docs/queries.md is the catalogue, and names every column of the views. */
import { readFileSync } from 'node:fs'
import { describeCatalogue } from '@agent-audit/analytics'
import { readMigrations } from '@agent-audit/schemas'
import { expect, it } from 'vitest'

const text = readFileSync(new URL('../../../docs/queries.md', import.meta.url), 'utf8')

it('docs/queries.md has the catalogue as it is (npm run docs:queries writes it)', () => {
  expect(text.slice(text.indexOf('### '))).toBe(`${describeCatalogue().trimEnd()}\n`)
})

it('docs/queries.md names every column of every view', () => {
  const statements = readMigrations().find(({ name }) => name.startsWith('0013_'))?.statements ?? []
  expect(statements).toHaveLength(4)
  for (const statement of statements) {
    const [, view = '', columns = ''] =
      /VIEW IF NOT EXISTS (\w+) AS\s+SELECT ([^]*?)\nFROM audit_events/.exec(statement) ?? []
    // Without strings and the arguments of functions, which nest three levels deep.
    const plain = [1, 2, 3].reduce((rest) => rest.replaceAll(/\([^()]*\)/g, ''), columns.replaceAll(/'[^']*'/g, ''))
    const names = plain.split(',').map((column) => /(\w+)\s*$/.exec(column)?.[1] ?? '')
    expect(names.length).toBeGreaterThan(10)
    expect([view, ...names].filter((name) => !text.includes(`\`${name}\``))).toEqual([])
  }
})
