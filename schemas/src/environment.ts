/** Secrets from environment variables, by value or by file. */
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
  try {
    return readFileSync(file, 'utf8').trimEnd()
  } catch (error) {
    // The path is not quoted: it may be the secret itself, in the wrong variable.
    const { code } = error as NodeJS.ErrnoException
    issues.push({ path: `${name}_FILE`, expected: `expected the path of a readable file (${code})` })
    return undefined
  }
}
