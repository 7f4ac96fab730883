/** Programs of other parties from PyPI, which need Python 3.12 with venv: AUDIT_PYTHON, one on the path, or one of pyenv. */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CACHES = fileURLToPath(new URL('../../node_modules/.cache/agent-audit/', import.meta.url))
const INSTALL_MS = 240_000
const LEAST = 12

/**
 * The Python with the packages of a file of requirements, or why there is none. Fetches them from PyPI the first time.
 * @param name - Of the environment, one for each test file.
 */
export function findPython(
  name: string,
  requirements: string,
): { readonly python: string } | { readonly missing: string } {
  const cache = join(CACHES, name)
  const [python, installed] = [join(cache, 'bin', 'python'), join(cache, 'installed.txt')]
  const wanted = readFileSync(requirements, 'utf8')
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted) return { python }
  const pyenv = globSync(join(process.env['PYENV_ROOT'] ?? join(homedir(), '.pyenv'), 'versions/3.*/bin/python3'))
  const base = [process.env['AUDIT_PYTHON'], 'python3.13', 'python3.12', 'python3', ...pyenv].find(isNewEnough)
  if (base === undefined) return { missing: `no Python 3.${LEAST} (set AUDIT_PYTHON)` }
  try {
    rmSync(cache, { recursive: true, force: true })
    mkdirSync(cache, { recursive: true })
    execFileSync(base, ['-m', 'venv', cache], { stdio: 'pipe', timeout: INSTALL_MS })
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--retries', '1', '-r', requirements]
    execFileSync(python, pip, { stdio: 'pipe', timeout: INSTALL_MS })
    // Last: a directory without it is made anew.
    writeFileSync(installed, wanted)
    return { python }
  } catch (error) {
    const { stderr, message } = error as { stderr?: Buffer; message: string }
    return { missing: stderr?.toString().trim().split('\n').at(-1) ?? message }
  }
}

function isNewEnough(python: string | undefined): python is string {
  if (python === undefined) return false
  try {
    const version = execFileSync(python, ['-c', 'import sys; print(sys.version_info[1])'], { stdio: 'pipe' }).toString()
    return Number(version) >= LEAST
  } catch {
    return false
  }
}
