/** `npm run docs:queries`: writes the catalogue into docs/queries.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { describeCatalogue } from '@agent-audit/analytics'

const FILE = new URL('../../../docs/queries.md', import.meta.url)
const MARK = '<!-- Written by `npm run docs:queries` from the catalogue. -->\n'
const [before = ''] = readFileSync(FILE, 'utf8').split(MARK)
writeFileSync(FILE, `${before}${MARK}\n${describeCatalogue().trimEnd()}\n`)
