/**
 * How fast a trail is verified: `agent-audit verify` as an operator runs it, a process beside the server on the same cores, of the
 * whole trail and of an increment; and the same rows checked by hashes in the rows (hash-peer.ts), in turns.
 */
import { existsSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { readUsage } from '../support/process-usage.ts'
import { rounded } from '../support/results.ts'
import { environmentOf } from '../support/store.ts'
import type { Figure, IntegrityBenchmark, Measured } from './figures.ts'
import { checkHashes, makeHashes, ROW_FORMATS, type RowFormat } from './hash-peer.ts'
import { startCommand } from './sealed-log.ts'
import type { SealedTrail } from './sealed-trail.ts'

const BOUNDS = { eventsPerSecond: 350_000, ofPeer: 2, incrementSeconds: 30 }
/** Of the bound of the increment. */
const INCREMENT_EVENTS = 10_000_000

interface Verified {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly serverCpuSeconds: number
  readonly peakMb: number
}

/** One after the other, on the same rows. */
interface Round extends Readonly<Record<RowFormat, number>> {
  readonly own: Verified
}

export async function measureVerify(benchmark: IntegrityBenchmark, trail: SealedTrail): Promise<Measured> {
  const { directory, only, events, rounds: count, profileDir, say } = benchmark
  const state = join(mkdtempSync(join(directory, 'state-')), 'state')
  await verify(trail, { state })
  const notes = existsSync(state) ? [] : ['verify keeps no state: for the increment the whole trail was read.']
  await trail.append(events)
  const increment = only.has('increment') ? [await verify(trail, { state })] : []
  for (const { seconds } of increment) say(`increment: ${events} events in ${seconds} s`)
  if (!only.has('verify')) return { figures: incrementFigures(events, increment), notes }
  const { admin } = trail.store
  await makeHashes(admin)
  say('hashes in the rows are made')
  const rounds: Round[] = []
  for (let round = 1; round <= count; round++) {
    const [RowBinary, JSONEachRow] = [
      await checkHashes(admin, 'RowBinary', trail.events),
      await checkHashes(admin, 'JSONEachRow', trail.events),
    ]
    const own = await verify(trail)
    rounds.push({ own, RowBinary, JSONEachRow })
    const cpu = `CPU ${own.cpuSeconds} s and ${own.serverCpuSeconds} s of the server, ${own.peakMb} MB`
    say(
      `verify, round ${round} of ${count}: ${trail.events} events in ${own.seconds} s (${cpu}); by SQL ${RowBinary} and ${JSONEachRow} s`,
    )
  }
  if (profileDir !== undefined) await verify(trail, { profileDir })
  return { figures: [...figuresOf(trail, rounds), ...incrementFigures(events, increment)], notes }
}

/**
 * @param options - state: a file that a run leaves for the next one, which then reads only what is new.
 * @throws Error unless the trail is verified
 */
async function verify(
  { dataDir, log }: SealedTrail,
  { state = '', profileDir }: { state?: string; profileDir?: string } = {},
): Promise<Verified> {
  const args = ['verify', '--trust', log.trustFile, '--checkpoints', log.checkpointsFile]
  const profiling = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`]
  const env = { ...environmentOf(dataDir.reader), AUDIT_VERIFY_STATE: state }
  const before = readUsage(dataDir.clickhouse.pid).cpuUs
  const { seconds, cpuSeconds, peakMb } = await startCommand(args, env, profiling).measured()
  const serverCpuSeconds = (readUsage(dataDir.clickhouse.pid).cpuUs - before) / 1e6
  return {
    seconds: rounded(seconds, 2),
    cpuSeconds: rounded(cpuSeconds, 1),
    serverCpuSeconds: rounded(serverCpuSeconds, 1),
    peakMb,
  }
}

function figuresOf({ events }: SealedTrail, rounds: readonly Round[]): Figure[] {
  const cpu = (of: 'cpuSeconds' | 'serverCpuSeconds'): number[] =>
    rounds.map(({ own }) => rounded((own[of] * 1e6) / events, 3))
  const peers = ROW_FORMATS.flatMap((format): Figure[] => [
    figure({
      name: `verify, to the same rows checked by SQL with hashes in the rows (${format})`,
      unit: 'times as fast',
      // The quickest form counts.
      bound: format === 'RowBinary' ? { least: BOUNDS.ofPeer } : undefined,
      rounds: rounds.map((round) => rounded(round[format] / round.own.seconds, 3)),
    }),
    figure({
      name: `hashes in the rows (${format}), checked by SQL`,
      unit: 'events/s',
      rounds: rounds.map((round) => Math.round(events / round[format])),
    }),
  ])
  return [
    figure({
      name: 'verify',
      unit: 'events/s',
      bound: { least: BOUNDS.eventsPerSecond },
      rounds: rounds.map(({ own }) => Math.round(events / own.seconds)),
    }),
    ...peers,
    figure({ name: 'verify, CPU of its process', unit: 'us an event', rounds: cpu('cpuSeconds') }),
    figure({ name: 'verify, CPU of the server', unit: 'us an event', rounds: cpu('serverCpuSeconds') }),
    figure({ name: 'verify, memory', unit: 'MB', rounds: rounds.map(({ own }) => own.peakMb) }),
  ]
}

function figure(of: Omit<Figure, 'stage'>): Figure {
  return { stage: 'verify', ...of }
}

function incrementFigures(events: number, increment: readonly Verified[]): Figure[] {
  if (increment.length === 0) return []
  return [
    {
      stage: 'increment',
      name: `an increment of ${events.toLocaleString('en-US')} events verified`,
      unit: 's',
      bound: { most: (BOUNDS.incrementSeconds * events) / INCREMENT_EVENTS },
      rounds: increment.map(({ seconds }) => seconds),
    },
  ]
}
