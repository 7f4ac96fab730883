/**
 * Checks the published command: packs `@agent-audit/cli`, `@agent-audit/embedded` and the packages they need, installs the
 * tarballs in an empty folder, and opens an embedded trail. The ClickHouse library, some 550 MB, is linked from the
 * repository instead of installed. Part of `npm run check:package`; prints a line for each check, and fails if one is wrong.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const OWN = '@agent-audit/'
/** The scopes of the packages of the ClickHouse library and of the foreign-function bridge. */
const NATIVE_SCOPES = ['@chdb', '@yuuang']

const directory = mkdtempSync(join(tmpdir(), 'agent-audit-command-'))
const installed = join(directory, 'node_modules')
try {
  install(pack(closureOf(['cli', 'embedded'])))
  const results = [runWithoutEmbedded(), ...runOnTrail()]
  process.exitCode = results.every(Boolean) ? 0 : 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** The workspaces, with those that they depend on. */
function closureOf(names: readonly string[]): string[] {
  const found = new Set<string>()
  const add = (name: string): void => {
    if (found.has(name)) return
    found.add(name)
    const { dependencies = {} } = JSON.parse(readFileSync(join(ROOT, name, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
    }
    for (const each of Object.keys(dependencies)) if (each.startsWith(OWN)) add(each.slice(OWN.length))
  }
  names.forEach(add)
  return [...found]
}

function pack(names: readonly string[]): string[] {
  const workspaces = names.flatMap((name) => ['--workspace', name])
  const output = npm(ROOT, 'pack', ...workspaces, '--pack-destination', directory, '--json')
  const packed = JSON.parse(output.slice(output.search(/^\[/m))) as { filename: string }[]
  return packed.map(({ filename }) => join(directory, filename))
}

function install(tarballs: readonly string[]): void {
  writeFileSync(join(directory, 'package.json'), '{ "name": "user", "version": "1.0.0", "private": true }')
  npm(directory, 'install', '--prefer-offline', '--omit=optional', ...tarballs)
}

/** Runs the installed command on an embedded trail, and prints whether it ends and says as expected. */
function run(args: readonly string[], expected: { readonly exitCode: number; readonly says: RegExp }): boolean {
  const shim = join(installed, '@agent-audit/cli/bin/agent-audit.js')
  const { status, stdout, stderr } = spawnSync(process.execPath, [shim, ...args, '--data-dir', 'trail'], {
    cwd: directory,
    encoding: 'utf8',
  })
  const ok = status === expected.exitCode && expected.says.test(stdout + stderr)
  const line = `${stdout}${stderr}`.trim().split('\n')[0]
  process.stdout.write(`${ok ? 'ok   ' : 'WRONG'} agent-audit ${args.join(' ')} --data-dir: exit ${status}, ${line}\n`)
  return ok
}

/** The optional package is missing: the error says what to install. */
function runWithoutEmbedded(): boolean {
  const folder = join(installed, '@agent-audit/embedded')
  renameSync(folder, join(directory, 'embedded'))
  const ok = run(['sessions'], { exitCode: 64, says: /npm install @agent-audit\/embedded/ })
  renameSync(join(directory, 'embedded'), folder)
  return ok
}

/** Makes a trail and reads it, where the library runs on this machine. */
function runOnTrail(): boolean[] {
  const scopes = NATIVE_SCOPES.map((scope) => ({ from: join(ROOT, 'node_modules', scope), to: join(installed, scope) }))
  if (!scopes.every(({ from }) => existsSync(from))) {
    process.stdout.write('skipped: the embedded ClickHouse is not installed in the repository\n')
    return []
  }
  for (const { from, to } of scopes) symlinkSync(from, to)
  return [
    run(['setup'], { exitCode: 0, says: /applied 0001/ }),
    run(['sessions'], { exitCode: 0, says: /^no sessions since/ }),
    run(['verify', '--completeness'], { exitCode: 3, says: /nothing to verify/ }),
  ]
}

function npm(cwd: string, ...args: string[]): string {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
