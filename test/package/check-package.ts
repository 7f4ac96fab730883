/**
 * Checks what a user of the producer gets: packs the published packages it consists of, lints the tarballs, installs them
 * in an empty folder, and measures. `npm run check:package`; prints a line each, and fails if any is wrong.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PACKED = ['schemas', 'seals', 'erasure', 'spool', 'kafka', 'producer'] as const

/** Of which zod 8.6 and kafkajs 2.7 MB. */
const MAX_BYTES = 13.7e6
const MAX_PACKAGES = 10
const MAX_IMPORT_MS = 120
/** The machine may be busy: the best of these counts. */
const STARTS = 12

interface Finding {
  readonly what: string
  readonly found: string
  readonly ok: boolean
  /** Depends on the machine and what else it does: reported, and fails nothing. */
  readonly timed?: boolean
}

const directory = mkdtempSync(join(tmpdir(), 'agent-audit-package-'))
try {
  const tarballs = pack()
  const linted = await Promise.all(tarballs.map(lint))
  const folder = install(tarballs)
  const findings = [...linted.flat(), ...measure(folder), types(folder), ...loads(folder)]
  for (const { what, found, ok, timed } of findings) {
    process.stdout.write(`${ok ? 'ok   ' : timed ? 'SLOW ' : 'WRONG'} ${what}: ${found}\n`)
  }
  const wrong = findings.filter(({ ok, timed }) => !ok && timed !== true).length
  process.stdout.write(`${findings.length} checks, ${wrong} wrong\n`)
  process.exitCode = wrong === 0 ? 0 : 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** Builds and packs. */
function pack(): string[] {
  const workspaces = PACKED.flatMap((name) => ['--workspace', name])
  const output = npm(ROOT, 'pack', ...workspaces, '--pack-destination', directory, '--json')
  // The build's own words come first.
  const packed = JSON.parse(output.slice(output.search(/^\[/m))) as { filename: string }[]
  return packed.map(({ filename }) => join(directory, filename))
}

async function lint(tarball: string): Promise<Finding[]> {
  const name = tarball.slice(directory.length + 1)
  const bytes = readFileSync(tarball)
  const { messages } = await publint({ pack: { tarball: new Uint8Array(bytes).buffer }, strict: true })
  const attw = spawnSync('attw', [tarball, '--profile', 'esm-only', '--no-color', '--format', 'ascii'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}` },
  })
  return [
    {
      what: `publint ${name}`,
      found: messages.length === 0 ? 'clean' : JSON.stringify(messages),
      ok: messages.length === 0,
    },
    { what: `attw ${name}`, found: attw.status === 0 ? 'clean' : attw.stdout + attw.stderr, ok: attw.status === 0 },
  ]
}

function install(tarballs: readonly string[]): string {
  writeFileSync(join(directory, 'package.json'), '{ "name": "user", "version": "1.0.0", "private": true }')
  npm(directory, 'install', '--prefer-offline', ...tarballs)
  return join(directory, 'node_modules')
}

function measure(folder: string): Finding[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path))
  const bytes = files.reduce((sum, path) => sum + lstatSync(path).blocks * 512, 0)
  const packages = Object.keys(
    (JSON.parse(readFileSync(join(folder, '.package-lock.json'), 'utf8')) as { packages: object }).packages,
  )
  const native = files.filter((path) => /\.(?:node|gyp)$/.test(path))
  const scripts = packages.filter((path) => runsAtInstall(join(folder, '..', path, 'package.json')))
  return [
    { what: 'on disk', found: `${(bytes / 1e6).toFixed(2)} MB of ${MAX_BYTES / 1e6}`, ok: bytes <= MAX_BYTES },
    { what: 'packages', found: packages.join(', '), ok: packages.length <= MAX_PACKAGES },
    {
      what: 'native code',
      found: [...native, ...scripts].join(', ') || 'none',
      ok: native.length + scripts.length === 0,
    },
  ]
}

function runsAtInstall(manifest: string): boolean {
  const { scripts = {} } = JSON.parse(readFileSync(manifest, 'utf8')) as { scripts?: Record<string, string> }
  return ['preinstall', 'install', 'postinstall'].some((name) => name in scripts)
}

function loads(folder: string): Finding[] {
  const timed = `const start = performance.now(); await import('@agent-audit/producer'); console.log(performance.now() - start)`
  const times = Array.from({ length: STARTS }, () => Number(node(folder, '--input-type=module', '-e', timed)))
  const best = Math.min(...times)
  const required = node(folder, '-e', `console.log(typeof require('@agent-audit/producer').createAuditTrail)`)
  const records = `
    const { createAuditTrail } = require('@agent-audit/producer')
    const trail = createAuditTrail({ agentId: 'a', dataDir: ${JSON.stringify(join(directory, 'data'))} })
    trail.withSession({}, () => {}).then(() => trail.close()).then(({ acked }) => {
      console.log(acked, Object.keys(require.cache).some((path) => path.includes('kafkajs')))
    })`
  const recorded = node(folder, '-e', records)
  return [
    {
      what: 'import',
      found: `${best.toFixed(0)} ms, best of ${STARTS}, of ${MAX_IMPORT_MS}`,
      ok: best <= MAX_IMPORT_MS,
      timed: true,
    },
    { what: 'require from CommonJS', found: required, ok: required === 'function' },
    { what: 'events recorded without kafkajs', found: recorded, ok: recorded === '4 false' },
  ]
}

/** A user's compiler reads every declaration file that the entries reach: none may be missing from the package. */
function types(folder: string): Finding {
  const entries = ['', '/replay', '/testing'].map((entry) => `import '@agent-audit/producer${entry}'`)
  writeFileSync(join(directory, 'user.ts'), `${entries.join('\n')}\n`)
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--lib',
    'es2024,esnext.disposable',
  ]
  const program = [
    ...options,
    '--typeRoots',
    join(ROOT, 'node_modules/@types'),
    '--types',
    'node',
    join(directory, 'user.ts'),
  ]
  const run = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), program, { cwd: join(folder, '..'), encoding: 'utf8' })
  return {
    what: 'types, without skipLibCheck',
    found: run.status === 0 ? 'complete' : run.stdout,
    ok: run.status === 0,
  }
}

function node(folder: string, ...args: string[]): string {
  return execFileSync(process.execPath, args, { cwd: join(folder, '..'), encoding: 'utf8' }).trim()
}

function npm(cwd: string, ...args: string[]): string {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
