/**
 * Writes src/avro/history.generated.ts from avro/history, so that a program reads no schema file when it starts:
 * `npm run generate --workspace schemas`, after a version was added. A test compares the two.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

const HISTORY = new URL('../avro/history/', import.meta.url)
const GENERATED = new URL('../src/avro/history.generated.ts', import.meta.url)

const HEAD = `// Generated from avro/history by scripts/generate-history.ts. Do not edit.

/** The JSON text of each version of the audit record's schema, oldest first. */
export const HISTORY_TEXTS: readonly string[] = [
`

const files = readdirSync(HISTORY).filter((name) => name.endsWith('.avsc'))
const lines = files.toSorted().map((name) => {
  const text = JSON.stringify(JSON.parse(readFileSync(new URL(name, HISTORY), 'utf8')))
  if (/`|\$\{/.test(text)) throw new Error(`${name}: a doc holds a backtick or a dollar sign with a brace`)
  return `  // ${name}\n  String.raw\`${text}\`,\n`
})
writeFileSync(GENERATED, `${HEAD}${lines.join('')}]\n`)
