/** Loaded before the program, in each of its threads: a pause of a minute takes a fifth of a second. */
import { syncBuiltinESMExports } from 'node:module'

const { setTimeout: original } = globalThis
globalThis.setTimeout = ((work: (...values: unknown[]) => void, ms?: number, ...values: unknown[]) =>
  original(() => work(...values), ms === 60_000 ? 200 : ms)) as typeof setTimeout
syncBuiltinESMExports()
