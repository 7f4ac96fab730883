/** deploy/compose/env.sh: passwords of docker-compose.yml, made once. */
import { execFile, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { signerFromPem } from '@agent-audit/seals'
import { expect, it } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SCRIPT = 'deploy/compose/env.sh'

/** A directory with the script where it is in the repository. */
function makeCheckout(): string {
  const directory = makeTempDirectory()
  mkdirSync(join(directory, 'deploy/compose'), { recursive: true })
  cpSync(join(ROOT, SCRIPT), join(directory, SCRIPT))
  return directory
}

const run = (directory: string): { status: number | null; stdout: string; stderr: string } =>
  spawnSync('sh', [SCRIPT], { cwd: directory, encoding: 'utf8' })

/** The values that a file of `NAME=value` lines sets. */
function valuesOf(file: string): Map<string, string> {
  const lines = readFileSync(file, 'utf8').matchAll(/^(?:export )?(\w+)='?(.*?)'?$/gm)
  return new Map([...lines].map(([, name = '', value = '']) => [name, value]))
}

it('makes passwords that are random, and readable by their owner alone', () => {
  const [one, other] = [makeCheckout(), makeCheckout()]
  for (const directory of [one, other]) expect(run(directory).status).toBe(0)
  const values = valuesOf(join(one, '.env'))
  const passwords = [...values].filter(([name]) => name.endsWith('_PASSWORD')).map(([, value]) => value)
  expect(passwords).toHaveLength(7)
  expect(new Set([...passwords, ...valuesOf(join(other, '.env')).values()]).size).toBe(passwords.length + values.size)
  expect(passwords.filter((password) => !/^[A-Za-z0-9]{32}$/.test(password))).toEqual([])
  const keys = [one, other].map((directory) =>
    signerFromPem((valuesOf(join(directory, '.env')).get('AUDIT_NOTARY_KEY') ?? '').replaceAll('\\n', '\n')),
  )
  expect(keys.map(({ keyName }) => keyName)).toEqual(['notary', 'notary'])
  expect(keys[0]?.vkey).not.toBe(keys[1]?.vkey)
  expect(Buffer.from(values.get('AUDIT_KAFKA_CLUSTER_ID') ?? '', 'base64url')).toHaveLength(16)
  expect(statSync(join(one, '.env')).mode & 0o777).toBe(0o600)
  expect(readdirSync(one).toSorted()).toEqual(['.env', 'deploy'])
})

it('has every variable that docker-compose.yml demands, and .env.example names the same, without a secret', () => {
  const directory = makeCheckout()
  run(directory)
  const compose = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')
  const named = (pattern: RegExp): string[] => [...new Set([...compose.matchAll(pattern)].map(([, name = '']) => name))]
  const demanded = named(/\$\{(\w+):\?/g)
  const made = valuesOf(join(directory, '.env'))
  expect(demanded.filter((name) => !made.get(name))).toEqual([])
  const example = valuesOf(join(ROOT, '.env.example'))
  expect([...example.keys()].toSorted()).toEqual(['COMPOSE_PROFILES', ...demanded, ...named(/\$\{(\w+):-/g)].toSorted())
  expect([...example].filter(([, value]) => value !== '')).toEqual([['COMPOSE_PROFILES', 'core']])
})

it('leaves an .env that is there as it is, and names what it lacks', () => {
  const directory = makeCheckout()
  run(directory)
  const made = readFileSync(join(directory, '.env'), 'utf8')
  const { stdout } = run(directory)
  expect(readFileSync(join(directory, '.env'), 'utf8')).toBe(made)
  const values = valuesOf(join(directory, '.env'))
  expect(stdout).toContain(`export CLICKHOUSE_PASSWORD='${values.get('AUDIT_ADMIN_PASSWORD')}'`)

  writeFileSync(
    join(directory, '.env'),
    made.replace(/^AUDIT_READER_PASSWORD=.*$/m, '').concat('AUDIT_KAFKA_PORT=19092\n'),
  )
  const lacking = run(directory)
  expect(lacking).toMatchObject({ status: 1, stdout: '' })
  expect(lacking.stderr).toMatch(/^env\.sh: \.env has no AUDIT_READER_PASSWORD: .*\.env\.example.*\n$/)

  writeFileSync(join(directory, '.env'), `${made}AUDIT_KAFKA_PORT=19092\n`)
  expect(run(directory).stdout).toContain("export KAFKA_BROKERS='localhost:19092'")
})

it('gives two that run at once the same passwords', async () => {
  const directory = makeCheckout()
  const runs = await Promise.all(
    Array.from({ length: 4 }, () => promisify(execFile)('sh', [SCRIPT], { cwd: directory, encoding: 'utf8' })),
  )
  expect(new Set(runs.map(({ stdout }) => stdout)).size).toBe(1)
})

it('keeps .env out of the repository', () => {
  const ignored = spawnSync('git', ['check-ignore', '.env', '.env.old', '.env.example'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  expect(ignored.stdout.trim().split('\n')).toEqual(['.env', '.env.old'])
  expect(existsSync(join(ROOT, '.env.example'))).toBe(true)
})
