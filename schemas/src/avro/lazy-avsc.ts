/** avsc, loaded when it is first needed: whoever only writes records never does, and its start would take a third longer. */
import { createRequire } from 'node:module'
import type avsc from 'avsc'

let loaded: typeof avsc | undefined

/** The library. */
export function loadAvsc(): typeof avsc {
  loaded ??= createRequire(import.meta.url)('avsc') as typeof avsc
  return loaded
}
