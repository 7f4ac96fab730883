/** What goes wrong with a compose file: each ends with one line that says what to do, and nothing is lost or overwritten. */
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { docker, say } from '../docker.ts'
import { connectReader } from './load.ts'
import { makeProject, type Outcome, type Project, run, UP } from './project.ts'

/** @param project - Is up, and has rows. It is up again, with the same rows, at the end. */
export async function tryBadInputs(project: Project): Promise<void> {
  const before = await countRows(project)
  await withoutEnv(project)
  await withPortTaken()
  await withAnotherClusterId(project)
  await withNewPasswords(project)
  await withoutKafkasVolume(project)
  const after = await countRows(project)
  if (after !== before) throw new Error(`${before} rows before the bad inputs, ${after} after`)
  say(`${after} rows before and after`)
}

async function countRows(project: Project): Promise<number> {
  await using reader = connectReader(await project.environment())
  const [row] = await reader.rows<{ rows: unknown }>('SELECT count() AS rows FROM {database:Identifier}.audit_events')
  return Number(row?.rows)
}

/** The last line of a failure says what to do. */
function expectLine({ exitCode, all }: Outcome, pattern: RegExp): void {
  const last = all.trimEnd().split('\n').at(-1) ?? ''
  if (exitCode === 0 || !pattern.test(last))
    throw new Error(`expected ${pattern}, got exit code ${exitCode} and:\n${all}`)
  say(`  ${last}`)
}

async function expectUp(project: Project): Promise<void> {
  const { exitCode, all } = await project.up()
  if (exitCode !== 0) throw new Error(all)
}

async function withoutEnv({ directory }: Project): Promise<void> {
  say('no .env:')
  const empty = join(directory, 'empty')
  writeFileSync(empty, '')
  const options = ['--env-file', empty]
  const raw = await run('docker', ['compose', ...options, 'up', '-d', '--wait'])
  expectLine(raw, /make \.env first with sh deploy\/compose\/env\.sh/)
  expectLine(await run('sh', [UP, ...options]), /deploy\/compose\/env\.sh makes the file/)
}

/** In a project beside the other. */
async function withPortTaken(): Promise<void> {
  say('a port taken:')
  await using project = await makeProject('core')
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  project.set({ AUDIT_CLICKHOUSE_PORT: String(port) })
  expectLine(await project.up(), new RegExp(`port ${port} .* is taken: .*\\.env`))
  server.close()
}

async function withAnotherClusterId(project: Project): Promise<void> {
  say('the volume of another cluster id:')
  const before = readFileSync(project.envFile, 'utf8')
  project.set({ AUDIT_KAFKA_CLUSTER_ID: 'MDAwMDAwMDAwMDAwMDAwMQ' })
  expectLine(await project.up(), /is of cluster .* set the id of the data in \.env/)
  writeFileSync(project.envFile, before)
  await expectUp(project)
}

/** Passwords are in no volume: `up` gives the new ones to all services. */
async function withNewPasswords(project: Project): Promise<void> {
  say('volumes kept, passwords made anew:')
  const names = ['KAFKA', 'ADMIN', 'WRITER', 'READER', 'GRAFANA'].map((name) => `AUDIT_${name}_PASSWORD`)
  project.set(Object.fromEntries(names.map((name) => [name, `new${name.toLowerCase().replaceAll('_', '')}`])))
  await expectUp(project)
  say('  up again with the new passwords')
}

/** The log is gone, its rows are there: set-up refuses to continue them with a log of the same name and id. */
async function withoutKafkasVolume(project: Project): Promise<void> {
  say("Kafka's volume lost, that of ClickHouse kept:")
  const removeVolume = async (): Promise<void> => {
    await project.compose('--profile', 'full', 'down')
    await docker('volume', 'rm', `${project.name}_kafka-data`)
  }
  await removeVolume()
  expectLine(await project.up(), /setup: topic "audit\.events" of .* was made anew/)
  await removeVolume()
  project.set({ AUDIT_KAFKA_CLUSTER_ID: 'MDAwMDAwMDAwMDAwMDAwMg' })
  await expectUp(project)
  say('  up with a new cluster id: a log of its own beside the old rows')
}
