/** A Python with the packages of the checker in examples/, or why there is none. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/agent-audit/evidence', import.meta.url))
const PACKAGES = ['fastavro==1.12.1', 'cryptography==46.0.3']
const INSTALL_MS = 240_000

/** Fetches the packages from PyPI the first time. */
export function findPython(): { readonly python: string; readonly missing?: undefined } | { readonly missing: string } {
  const [python, installed] = [join(CACHE, 'bin', 'python'), join(CACHE, 'installed.txt')]
  const wanted = PACKAGES.join(' ')
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted) return { python }
  try {
    rmSync(CACHE, { recursive: true, force: true })
    mkdirSync(CACHE, { recursive: true })
    execFileSync('python3', ['-m', 'venv', CACHE], { stdio: 'pipe', timeout: INSTALL_MS })
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--retries', '1', ...PACKAGES]
    execFileSync(python, pip, { stdio: 'pipe', timeout: INSTALL_MS })
    // Last: a directory without it is made anew.
    writeFileSync(installed, wanted)
    return { python }
  } catch (error) {
    const { code, stderr, message } = error as { code?: string; stderr?: Buffer; message: string }
    const reason = code === 'ENOENT' ? 'there is no python3' : (stderr?.toString().trim().split('\n').at(-1) ?? message)
    return { missing: `(skipped: needs python3 with venv, and ${wanted} from PyPI: ${reason})` }
  }
}
