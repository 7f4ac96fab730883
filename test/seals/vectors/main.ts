/** `npm run vectors`: writes the conformance vectors. */
import { writeFileSync } from 'node:fs'
import { VECTOR_FILES, vectorText } from './make-vectors.ts'

for (const [file, make] of Object.entries(VECTOR_FILES)) {
  writeFileSync(new URL(`../../../seals/vectors/${file}`, import.meta.url), vectorText(make))
}
