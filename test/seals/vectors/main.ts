/** `npm run vectors`: writes the conformance vectors. */
import { fileURLToPath } from 'node:url'
import { writeVectors } from './write-vectors.ts'

writeVectors(fileURLToPath(new URL('../../../seals/vectors', import.meta.url)))
