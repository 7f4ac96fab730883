/** A project of Docker Compose with a name, ports, passwords and volumes of its own: several run side by side. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '@agent-audit/embedded/internal'
import { docker, ROOT } from '../docker.ts'

export const UP = 'deploy/compose/up.sh'
const ENV_SCRIPT = 'deploy/compose/env.sh'
const PORTS = ['KAFKA', 'CLICKHOUSE', 'CONSUMER', 'REGISTRY', 'PROMETHEUS', 'GRAFANA']

export interface Outcome {
  readonly exitCode: number
  /** Standard output. */
  readonly output: string
  /** Standard output and standard error, as they came. */
  readonly all: string
}

export interface Project extends AsyncDisposable {
  readonly name: string
  readonly directory: string
  /** Its .env file. */
  readonly envFile: string
  /** What env.sh prints: the settings of `npm start`, producer and command. */
  environment(): Promise<Record<string, string>>
  /** Sets variables of the .env file. */
  set(values: Readonly<Record<string, string>>): void
  /** Runs `docker compose`; rejects where it fails. */
  compose(...args: readonly string[]): Promise<string>
  /** Runs up.sh, which runs `docker compose up -d --wait`. */
  up(): Promise<Outcome & { readonly seconds: number }>
  /** Id of the container of a service. */
  containerOf(service: string): Promise<string>
}

/** Runs a program in the repository, without the servers that the environment of this process names. */
export async function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(AUDIT|CLICKHOUSE|KAFKA)_/.test(name))
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [output, all] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    all += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (all += text))
  const [exitCode] = (await once(child, 'close')) as [number | null]
  return { exitCode: exitCode ?? 1, output, all }
}

export async function makeProject(profile: 'core' | 'full'): Promise<Project> {
  const directory = mkdtempSync(join(tmpdir(), 'audit-compose-'))
  const envFile = join(directory, 'env')
  const name = `audit-lab-${randomBytes(4).toString('hex')}`
  const made = await run('sh', [ENV_SCRIPT], { AUDIT_ENV_FILE: envFile })
  if (made.exitCode !== 0) throw new Error(made.all)
  const own = ['--project-name', name, '--env-file', envFile]
  const project: Project = {
    name,
    directory,
    envFile,
    async environment() {
      const { output } = await run('sh', [ENV_SCRIPT], { AUDIT_ENV_FILE: envFile })
      return Object.fromEntries([...output.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, key, value]) => [key, value]))
    },
    set(values) {
      const lines = readFileSync(envFile, 'utf8').split('\n')
      const others = lines.filter((line) => !Object.keys(values).some((key) => line.startsWith(`${key}=`)))
      const added = Object.entries(values).map(([key, value]) => `${key}=${value}`)
      writeFileSync(envFile, [...others, ...added, ''].join('\n'))
    },
    compose: (...args) => docker('compose', ...own, ...args),
    async up() {
      const begun = performance.now()
      const outcome = await run('sh', [UP, ...own])
      return { ...outcome, seconds: (performance.now() - begun) / 1000 }
    },
    containerOf: (service) => docker('compose', ...own, 'ps', '--all', '--quiet', service),
    async [Symbol.asyncDispose]() {
      await docker('compose', ...own, '--profile', 'full', 'down', '--volumes', '--remove-orphans')
      rmSync(directory, { recursive: true, force: true })
    },
  }
  const ports = await freePorts(PORTS.length)
  project.set({
    COMPOSE_PROFILES: profile,
    ...Object.fromEntries(PORTS.map((port, index) => [`AUDIT_${port}_PORT`, String(ports[index])])),
  })
  return project
}
