/** Fetches parts from Maven Central, once each, into the checkout's cache. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { waitForLock } from '@agent-audit/embedded/internal'
import { AuditUnavailableError } from '@agent-audit/schemas'

const FETCH_TIMEOUT_MS = 600_000
const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/agent-audit', import.meta.url))

export interface MavenOrder {
  /** The part's folder, below the cache. */
  readonly target: string
  /** Maven's arguments that fetch the part into a folder. */
  readonly argsInto: (folder: string) => readonly string[]
  /** The error's text when Maven cannot fetch it: which part, and what to do instead. */
  readonly failure: string
}

/** Folder of a part in the cache: it is there and whole, or not there. */
export function cached(name: string): string {
  return join(CACHE, name)
}

/**
 * Fetches a part unless it is there. Of two processes at once, one fetches and the other waits for it.
 * @returns The folder.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` with Maven's output.
 */
export async function fetchByMaven(order: MavenOrder): Promise<string> {
  const { target } = order
  if (existsSync(target)) return target
  await mkdir(dirname(target), { recursive: true })
  const lock = await waitForLock(`${target}.lock`)
  try {
    if (!existsSync(target)) await fetchInto(order)
  } finally {
    lock.release()
  }
  return target
}

/** Fetches into a draft folder and renames it when it is whole: an interrupted fetch leaves no partial part. */
async function fetchInto({ target, argsInto, failure }: MavenOrder): Promise<void> {
  const draft = `${target}.draft`
  // Without a project some goals write marker files into the working directory: they get a separate one.
  const cwd = `${target}.marks`
  await rm(draft, { recursive: true, force: true })
  await mkdir(cwd, { recursive: true })
  try {
    await promisify(execFile)('mvn', ['-q', '-B', ...argsInto(draft)], { cwd, timeout: FETCH_TIMEOUT_MS })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    const said = `${stdout}\n${stderr}`.trim().split('\n').slice(0, 5).join('\n')
    throw new AuditUnavailableError('PART_UNAVAILABLE', `${failure} Maven said:\n${said}`, { cause: error })
  } finally {
    await rm(cwd, { recursive: true, force: true })
  }
  await rename(draft, target)
}
