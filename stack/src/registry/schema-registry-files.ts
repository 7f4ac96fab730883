/** Where the schema registry from Maven Central is kept. */
import { cached } from './maven.ts'

export const REGISTRY_VERSION = '3.0.9'
/** Folder of the program: there and whole, or not there. */
export const REGISTRY_FILES: string = cached(`apicurio-registry-${REGISTRY_VERSION}`)
