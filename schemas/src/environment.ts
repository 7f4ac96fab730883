/** Secrets and URLs of services from the environment. */
import { readFileSync } from 'node:fs'
import type { Issue } from './errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * The value of the variable NAME, or the content of the file that NAME_FILE names, without white space at its end. Problems
 * are added to `issues`.
 */
export function readSecret(env: Environment, name: string, issues: Issue[]): string | undefined {
  const file = env[`${name}_FILE`] || undefined
  const value = env[name] || undefined
  if (file === undefined) return value
  if (value !== undefined) {
    issues.push({ path: name, expected: `expected either ${name} or ${name}_FILE, not both` })
    return undefined
  }
  return readSecretFile(file, `${name}_FILE`, issues)
}

/** The content of a file, without white space at its end. `path` is the setting that names the file. */
export function readSecretFile(file: string, path: string, issues: Issue[]): string | undefined {
  try {
    return readFileSync(file, 'utf8').trimEnd()
  } catch (error) {
    // The file's path is not quoted: it may be the secret itself, in the wrong variable.
    const { code } = error as NodeJS.ErrnoException
    issues.push({ path, expected: `expected the path of a readable file (${code})` })
    return undefined
  }
}

/**
 * What is wrong with the URL of an HTTP service, never with the URL itself, which may hold a password; undefined if nothing
 * is. A path is allowed: a proxy may serve it.
 * @param certificates - For the service, if any: its URL must be https then.
 */
export function urlFault(text: string, certificates?: object): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) return 'expected a URL such as http://host:8123'
  if (url.username !== '' || url.password !== '') return 'expected a URL without user and password'
  if (/[?#]/.test(text)) return 'expected a URL without ? and #'
  return certificates === undefined || url.protocol === 'https:' ? undefined : 'expected https:// beside certificates'
}

/**
 * The parts of a URL as @clickhouse/client takes them: it would take the path in a URL for the name of a database. The path
 * ends with one slash: requests go to `/a/path/?query=…`.
 */
export function endpointOf(url: string): { readonly url: string; readonly pathname: string } {
  const { origin, pathname } = new URL(url)
  return { url: origin, pathname: pathname.replace(/\/*$/, '/') }
}
