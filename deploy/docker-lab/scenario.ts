/**
 * docker-compose.yml, run on a real engine: up, recorded sessions, each service killed under load, down and up, bad inputs.
 *
 *   node --conditions=agent-audit-source deploy/docker-lab/scenario.ts [--recordings FILE] [--profile core|full]
 *
 * FILE: as for `npm start -- --replay`; else the file that AUDIT_SESSIONS_FILE names.
 * Prints what it does, and figures as lines of name, tab, value. Exit code 0: everything held.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { docker, figure, say, until } from './docker.ts'
import { tryBadInputs } from './scenario/bad-inputs.ts'
import { startLoad } from './scenario/load.ts'
import { makeProject, type Project, run } from './scenario/project.ts'

const SOURCE = '--conditions=agent-audit-source'
/** Events that a service has to bring through before it is killed. */
const BEFORE_KILL = 2000
/** Services at rest have used no processor time to speak of for so long. */
const IDLE_MS = 20_000

const { values } = parseArgs({
  options: { recordings: { type: 'string' }, profile: { type: 'string', default: 'full' } },
})
const recordings = values.recordings ?? process.env['AUDIT_SESSIONS_FILE'] ?? ''
if (recordings === '') {
  process.stderr.write('scenario: give --recordings FILE or AUDIT_SESSIONS_FILE, the recorded sessions to replay\n')
  process.exit(64)
}
const profile = values.profile === 'core' ? 'core' : 'full'

async function expectUp(project: Project): Promise<number> {
  const { exitCode, all, seconds } = await project.up()
  if (exitCode !== 0) throw new Error(all)
  return seconds
}

async function startAndStore(project: Project): Promise<void> {
  say(`== up, profile ${profile}`)
  const begun = performance.now()
  figure('up -d --wait, new volumes', `${(await expectUp(project)).toFixed(1)} s`)
  await load(project, 'first', 1).finish()
  figure('up -d --wait to the first event in the table', `${((performance.now() - begun) / 1000).toFixed(1)} s`)
}

let environment: Readonly<Record<string, string>> = {}

function load(project: Project, name: string, events?: number): ReturnType<typeof startLoad> {
  return startLoad({ environment, spoolDir: join(project.directory, name), recordings, events })
}

async function printMemory(project: Project): Promise<void> {
  await sleep(IDLE_MS)
  const ids = (await project.compose('ps', '--quiet')).split('\n')
  const lines = await docker('stats', '--no-stream', '--format', '{{.Name}}\t{{.MemUsage}}', ...ids)
  for (const line of lines.split('\n').toSorted()) figure('idle memory', line.replace(`${project.name}-`, ''))
}

async function replay(project: Project): Promise<void> {
  say('== npm start -- --replay FILE')
  const start = ['start/src/main.ts', '--replay', recordings, '--json', '--data-dir', join(project.directory, 'start')]
  const { exitCode, output, all } = await run(process.execPath, [SOURCE, ...start], environment)
  if (exitCode !== 0) throw new Error(all)
  const { accepted, stored, duplicates } = JSON.parse(output.trimEnd().split('\n').at(-1) ?? '') as Record<
    string,
    number
  >
  say(`accepted ${accepted}, stored ${stored}, ${duplicates} duplicates left out`)
}

async function verify(): Promise<void> {
  const { exitCode, all } = await run(process.execPath, [SOURCE, 'cli/src/main.ts', 'verify', '--completeness'], {
    ...environment,
    CLICKHOUSE_USER: 'audit_reader',
    CLICKHOUSE_PASSWORD: environment['AUDIT_READER_PASSWORD'] ?? '',
  })
  say(all.trimEnd().split('\n').slice(-3).join('\n'))
  if (exitCode !== 0) throw new Error(`verify --completeness: exit code ${exitCode}\n${all}`)
}

async function killUnderLoad(project: Project, service: string): Promise<void> {
  const id = await project.containerOf(service)
  const running = load(project, `kill-${service}`)
  await until('events are accepted', async () => running.accepted > BEFORE_KILL)
  await docker('kill', '--signal', 'KILL', id)
  const killed = running.accepted
  // The load goes on meanwhile: the spool keeps what does not reach Kafka.
  await until('events are accepted without it', async () => running.accepted > killed + BEFORE_KILL)
  await docker('start', id)
  const begun = performance.now()
  await until(
    `${service} is healthy again`,
    async () => (await docker('inspect', '--format', '{{.State.Health.Status}}', id)) === 'healthy',
  )
  const accepted = await running.finish()
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  say(
    `${service} killed after ${killed} events: ${accepted} accepted, the same ${accepted} in the table, each once, ${seconds} s after its start`,
  )
}

async function downAndUp(project: Project): Promise<void> {
  say('== down and up, volumes kept')
  await project.compose('down')
  figure('up -d --wait, volumes kept', `${(await expectUp(project)).toFixed(1)} s`)
  const setup = await project.compose('logs', '--no-log-prefix', 'setup')
  if (!setup.includes('nothing to do')) throw new Error(`set-up found something to do:\n${setup}`)
  const stored = await load(project, 'again', 500).finish()
  say(`set-up had nothing to do; ${stored} more events, each once`)
}

async function main(): Promise<void> {
  await using project = await makeProject(profile)
  environment = await project.environment()
  await startAndStore(project)
  await printMemory(project)
  await replay(project)
  say('== each service killed under load')
  const services = (await project.compose('ps', '--services')).split('\n')
  for (const service of services.toSorted()) await killUnderLoad(project, service)
  await verify()
  await downAndUp(project)
  await verify()
  say('== bad inputs')
  await tryBadInputs(project)
  environment = await project.environment()
  say(`${await load(project, 'last', 100).finish()} more events, each once`)
  await verify()
  say('everything held')
}

await main()
