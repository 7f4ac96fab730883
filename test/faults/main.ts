/**
 * Real faults on real parts: three Kafka brokers, ClickHouse, two consumers and a producer at full speed, each a process.
 *
 *   npm run test:faults                            every fault once, and a few pairs
 *   npm run test:faults -- --rounds N --seed S     as many rounds, drawn by the seed
 *   npm run test:faults -- --only TEXT             only faults whose name holds the text
 *   npm run test:faults -- --settings default      with the consumer's default settings instead of quick ones; patient for a busy machine
 *   npm run test:faults -- --load light            with a tenth of the events, on a machine that is used otherwise
 *   npm run test:faults -- --keep DIRECTORY        the processes' logs, if a round fails
 *
 * Exit code 1 if a round failed. The last two lines are the report as JSON, and `N passed, N failed, N skipped`.
 */
import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { generateKey } from '@agent-audit/seals'
import { chooseServers, embeddedAvailability, kafkaAvailability } from '@agent-audit/stack'
import { createRandom } from '../../bench/support/sessions.ts'
import type { Scene } from './fault.ts'
import { Fleet, type FleetOptions } from './fleet.ts'
import { Oracle } from './oracle.ts'
import { ALL, longPlan, type Round, shortPlan } from './plan.ts'
import { type Load, LOADS, type Profile, PROFILES } from './profiles.ts'
import { makeReport, renderReport } from './report.ts'
import { playRound, type RoundResult } from './round.ts'
import { SealOracle } from './seal-oracle.ts'
import { Servers } from './servers.ts'
import { Trail } from './trail.ts'

/** After so many rounds a new topic and empty tables, so that the last round costs what the first one did. */
const ROUNDS_OF_TRAIL = 12
/** After so many broken rounds the run ends: further rounds would show little. */
const MAX_BROKEN = 10
const PARTITIONS = 4
process.exitCode = await main()

async function main(): Promise<number> {
  const options = readOptions()
  if (options === undefined) {
    say(
      'expected --rounds and --seed as whole numbers, --settings as quick, patient or default, --load as full or light',
    )
    return 2
  }
  await chooseServers(['kafka'])
  const missing = [kafkaAvailability(), embeddedAvailability()].flatMap((part) => (part.available ? [] : [part.reason]))
  if (missing.length > 0) {
    say(`SKIPPED: ${missing.join('; ')}\n0 passed, 0 failed, 1 skipped`)
    return 0
  }
  return run(options)
}

interface Options {
  readonly seed: number
  /** Undefined: the short form. */
  readonly rounds: number | undefined
  readonly only: string
  readonly profile: Profile
  readonly load: Load
  /** Where the logs of a failed run go. */
  readonly keep: string | undefined
}

function readOptions(): Options | undefined {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: { rounds: text, seed: text, only: text, settings: text, load: text, keep: text },
  })
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  const settings = values.settings ?? 'quick'
  const isValid = Number.isSafeInteger(seed) && Number.isSafeInteger(rounds ?? 1)
  const load = values.load ?? 'full'
  if (!isValid || (settings !== 'quick' && settings !== 'patient' && settings !== 'default')) return undefined
  if (load !== 'full' && load !== 'light') return undefined
  return { seed, rounds, only: values.only ?? '', profile: PROFILES[settings], load: LOADS[load], keep: values.keep }
}

async function run({ seed, rounds, only, profile, load, keep }: Options): Promise<number> {
  say(`seed ${seed}`)
  const startedAt = performance.now()
  const random = createRandom(seed)
  await using servers = await Servers.start()
  endOnSignal(servers)
  const asked = ALL.filter(({ kind }) => kind.includes(only))
  const faults = asked.filter((fault) => fault.unavailable?.(servers) === undefined)
  const skipped = asked.flatMap((fault) => {
    const reason = fault.unavailable?.(servers)
    return reason === undefined ? [] : [`${fault.kind}: ${reason}`]
  })
  const plan = rounds === undefined ? shortPlan(faults, random) : longPlan(faults, rounds, random)
  say(`servers up after ${Math.round((performance.now() - startedAt) / 1000)} s; ${plan.length} rounds`)
  const results: RoundResult[] = []
  let broken = 0
  for (let first = 0; first < plan.length && broken < MAX_BROKEN;) {
    const outcome = await playTrail(servers, {
      rounds: plan.slice(first, first + ROUNDS_OF_TRAIL),
      first,
      random,
      profile,
      load,
    })
    results.push(...outcome.results)
    first += outcome.results.length
    if (outcome.broken) {
      first++
      broken++
    }
    if (outcome.broken && keep !== undefined) keepLogs(servers.directory, join(keep, `round-${first}`))
  }
  const passed = results.filter(({ verdict }) => verdict.findings.length === 0).length
  const failed = plan.length - passed
  const report = makeReport({
    seed,
    results,
    failed,
    skipped,
    timing: profile.timing,
    storeDeaths: servers.storeDeaths.length,
    seconds: (performance.now() - startedAt) / 1000,
  })
  for (const words of servers.storeDeaths) say(`ClickHouse ended by itself and was started again:\n${words}`)
  say(renderReport(report))
  say(JSON.stringify(report))
  say(`${passed} passed, ${failed} failed, ${skipped.length} skipped`)
  return failed === 0 ? 0 : 1
}

interface Stretch {
  readonly rounds: readonly Round[]
  /** Number of the first round, from 0. */
  readonly first: number
  readonly random: () => number
  readonly profile: Profile
  readonly load: Load
}

/** Some rounds on one topic, up to the first that cannot be played to its end: the next ones need another. */
async function playTrail(
  servers: Servers,
  { rounds, first, random, profile, load }: Stretch,
): Promise<{ results: RoundResult[]; broken: boolean }> {
  const name = `from-${first + 1}`
  // Without a spool the records of a killed producer are gone with it.
  const kills = rounds.flat().some(({ target }) => target === 'producer')
  const durability = !kills && (first / ROUNDS_OF_TRAIL) % 2 === 0 ? 'broker' : 'disk'
  const trail = await Trail.open(servers, { name, partitions: PARTITIONS, durability, rate: load.rate })
  const keys: string[] = []
  const makeKey = (member: string): string => {
    const file = join(servers.directory, `${name}-consumer-${keys.length}.key`)
    writeFileSync(file, generateKey(encodeURIComponent(member)), { mode: 0o600 })
    keys.push(file)
    return file
  }
  const fleet = await Fleet.start(fleetOptions(servers, { trail, name, settings: profile.settings, makeKey }))
  const scene: Scene = { servers, trail, fleet, timing: profile.timing, load, random }
  const oracle = new Oracle(servers, trail, new SealOracle(servers, trail, () => keys))
  const results: RoundResult[] = []
  let broken = false
  for (const [index, round] of rounds.entries()) {
    const title = `${first + index + 1}. ${round.map(({ kind }) => kind).join(' + ')}`
    const startedAt = performance.now()
    try {
      const result = await playRound(round, scene, oracle)
      results.push(result)
      const took = ((performance.now() - startedAt) / 1000).toFixed(1)
      say(`${title}: ${inWords(result)}, ${took} s`)
    } catch (error) {
      say(`${title}: FAILED: ${String(error)}`)
      broken = true
      break
    }
  }
  if (!broken && !(await endInOrder(fleet))) {
    // The last round left them so: its result is replaced by the failure.
    results.pop()
    broken = true
  }
  if (broken) await fleet.abandon()
  await trail.close()
  await servers.clear()
  return { results, broken }
}

async function endInOrder(fleet: Fleet): Promise<boolean> {
  try {
    await fleet.close()
    return true
  } catch (error) {
    say(`FAILED in ending the consumers: ${String(error)}`)
    return false
  }
}

function inWords({ faults, verdict }: RoundResult): string {
  const recoveries = faults.map(({ missed, recoveryMs }) =>
    missed === undefined ? `flows after ${(recoveryMs / 1000).toFixed(1)} s` : `MISSED, ${missed}`,
  )
  const found = verdict.findings.length === 0 ? 'complete' : `FAILED: ${verdict.findings.join('; ')}`
  return `${recoveries.join(', ')}; ${verdict.events} events ${found}`
}

function fleetOptions(
  servers: Servers,
  {
    trail: { topic, group },
    name,
    settings,
    makeKey,
  }: { trail: Trail; name: string; settings: Profile['settings']; makeKey: FleetOptions['makeKey'] },
): FleetOptions {
  const { username, password, database } = servers.store.writer
  return {
    name,
    makeKey,
    clickhousePort: servers.clickhousePort,
    brokerPorts: servers.brokerPorts,
    logFile: join(servers.directory, `${name}-consumers.log`),
    settings: {
      LOG_LEVEL: 'info',
      ...settings,
      KAFKA_BROKERS: servers.kafka.brokers.join(','),
      AUDIT_TOPICS: topic,
      AUDIT_GROUP_ID: group,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
    },
  }
}

/** Stops all servers and unmounts all disks, also after Ctrl-C. */
function endOnSignal(servers: Servers): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void servers[Symbol.asyncDispose]().finally(() => process.exit(1)))
  }
}

function keepLogs(directory: string, to: string): void {
  cpSync(directory, to, { recursive: true, filter: (path) => path === directory || path.endsWith('.log') })
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
