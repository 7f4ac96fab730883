/** A Python with the packages of the notebooks. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const REQUIREMENTS = fileURLToPath(new URL('../../examples/notebooks/requirements.txt', import.meta.url))
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/agent-audit/notebooks', import.meta.url))
const INSTALL_MS = 240_000

/** The program that runs the notebooks, or why there is none. Fetches the packages from PyPI the first time. */
export function findPython(): { readonly python: string; readonly missing?: undefined } | { readonly missing: string } {
  const wanted = readFileSync(REQUIREMENTS, 'utf8')
  const [python, installed] = [join(CACHE, 'bin', 'python'), join(CACHE, 'installed.txt')]
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted && works(python)) return { python }
  try {
    rmSync(CACHE, { recursive: true, force: true })
    mkdirSync(CACHE, { recursive: true })
    execFileSync('python3', ['-m', 'venv', CACHE], { stdio: 'pipe', timeout: INSTALL_MS })
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--retries', '1', '-r', REQUIREMENTS]
    execFileSync(python, pip, { stdio: 'pipe', timeout: INSTALL_MS })
    // Last: a directory without it is made anew.
    writeFileSync(installed, wanted)
    return { python }
  } catch (error) {
    const { code, stderr, message } = error as { code?: string; stderr?: Buffer; message: string }
    const reason = code === 'ENOENT' ? 'there is no python3' : (stderr?.toString().trim().split('\n').at(-1) ?? message)
    return { missing: `(skipped: needs python3 with venv, and ${wanted.trim()} from PyPI: ${reason})` }
  }
}

function works(python: string): boolean {
  try {
    execFileSync(python, ['-c', 'import polars'], { stdio: 'pipe' })
    return true
  } catch {
    return false
  }
}
