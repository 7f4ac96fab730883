/** Whether the embedded ClickHouse can run on this machine. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** `reason`: one line that names the missing part and what to install. */
export type Availability = { readonly available: true } | { readonly available: false; readonly reason: string }

const LIBRARY_PACKAGE = '@chdb/lib-linux-x64-gnu'

/** Checks the platform and that the library is installed. Starts nothing. */
export function embeddedAvailability(): Availability {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    const reason = `The embedded ClickHouse runs on Linux x64, not on ${process.platform} ${process.arch}`
    return { available: false, reason }
  }
  if (findLibrary() !== undefined) return { available: true }
  const reason = `The embedded ClickHouse (npm package ${LIBRARY_PACKAGE}, for glibc) is not installed: install it without --omit=optional`
  return { available: false, reason }
}

/** Path of libchdb.so, if its package and the foreign-function bridge are installed. */
export function findLibrary(): string | undefined {
  const require = createRequire(import.meta.url)
  try {
    require.resolve('ffi-rs')
    const library = join(dirname(require.resolve(`${LIBRARY_PACKAGE}/package.json`)), 'libchdb.so')
    return existsSync(library) ? library : undefined
  } catch {
    return undefined
  }
}
