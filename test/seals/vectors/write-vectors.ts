/** Writes the conformance vectors; `oxfmt` then gives the JSON files their form. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BUNDLE_FILES } from './bundle-vectors.ts'
import { VECTOR_FILES, vectorText } from './make-vectors.ts'

export function writeVectors(directory: string): void {
  const texts = Object.entries(VECTOR_FILES).map(([file, make]) => [file, vectorText(make)] as const)
  const bundles = Object.entries(BUNDLE_FILES).map(([file, make]) => [file, make()] as const)
  for (const [file, content] of [...texts, ...bundles]) {
    const path = join(directory, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }
}
