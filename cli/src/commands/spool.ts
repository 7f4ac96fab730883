/** `agent-audit spool status` and `agent-audit spool drain`: the events that producers left on a disk. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditTrailOptions, SpoolSealStatus, SpoolStatus } from '@agent-audit/producer'
import {
  AuditUnavailableError,
  type Environment,
  InvalidInputError,
  readRegistryAccess,
  type TrailError,
} from '@agent-audit/schemas'
import type { Command } from 'commander'
import { parseCount } from '../arguments.ts'
import { readOrThrow } from '../connect.ts'
import { KAFKA_HELP, kafkaOf } from '../kafka-connection.ts'
import { expectWritable, type FileMetric, measurable, writeMetrics } from '../metrics-file.ts'
import { type Column, table } from '../render/table.ts'
import { asJson, counted, dayAndTime, figure, painter, printable } from '../render/text.ts'
import { EXIT, type Terminal } from '../terminal.ts'

interface DrainOptions {
  readonly brokers?: string
  readonly dataDir?: string
  readonly schemaRegistry?: string
  readonly toAny?: boolean
  readonly timeoutMs: number
  readonly json?: boolean
}

const DAY_MS = 86_400_000
const POLL_MS = 50
const KEY = 'AUDIT_SIGNING_KEY'
const SIGNER_TIMEOUT_MS = 5000

const COLUMNS: readonly Column<SpoolStatus>[] = [
  { title: 'TOPIC', value: (row) => row.topic },
  { title: 'RUN', value: (row) => row.runId },
  { title: 'STATE', value: (row) => row.state },
  { title: 'EVENTS', value: (row) => (row.records === null ? '-' : figure(row.records)), right: true },
  { title: 'UNSEALED', value: (row) => sealFigure(row, ({ unsealed }) => unsealed), right: true },
  { title: 'SEALS', value: (row) => sealFigure(row, ({ unsent }) => unsent), right: true },
  { title: 'BYTES', value: (row) => figure(row.fileBytes), right: true },
  { title: 'OLDEST (UTC)', value: (row) => (row.oldestMs === null ? '-' : dayAndTime(isoOf(row.oldestMs))) },
  { title: 'CLUSTER', value: (row) => row.cluster ?? '-' },
]

export function addSpool(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const spool = program
    .command('spool')
    .description('list or send the events that producers have on disk and Kafka has not acknowledged')
  measurable(spool.command('status <dir>'))
    .description('list the spools below a spool directory: runs, events, oldest event')
    .option('--json', 'one JSON array; records and oldest of a live run are null: only its process knows them')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 a damaged spool was found, 3 the directory cannot be read, 64 wrong use',
    )
    .action(async (directory: string, { json, metrics }: { json?: boolean; metrics?: string }) => {
      const { spoolStatus } = await import('@agent-audit/producer')
      expectWritable(metrics)
      const found = spoolStatus(directory)
      const fault = metrics === undefined ? undefined : await writeMetrics(metrics, spoolMetrics(found))
      if (fault !== undefined) terminal.err(`agent-audit: ${fault}\n`)
      exit(found.some(isDamaged) ? EXIT.finding : fault === undefined ? EXIT.done : EXIT.notCompleted)
      if (json === true) terminal.out(`${asJson(found)}\n`)
      else terminal.out(statusText(found, directory, terminal))
    })
  spool
    .command('drain <dir>')
    .description('send the events of dead processes below a spool directory, under their original run_ids')
    .option('--brokers <list>', 'Kafka, host:port separated by commas (default: KAFKA_BROKERS)')
    .option('-D, --data-dir <dir>', 'send to the embedded log of this directory instead')
    .option('--schema-registry <url>', 'Confluent API: the same as schemaRegistryUrl of the producers')
    .option('--to-any', 'send also what was recorded for another cluster, and say so')
    .option('--timeout-ms <n>', 'time limit', parseCount(1, DAY_MS), 60_000)
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `\n${KAFKA_HELP}\n\nWhat killed processes had not sealed is sealed by the key of AUDIT_SIGNING_KEY_FILE or AUDIT_SIGNING_KEY, or the signer at\nAUDIT_SIGNER_SOCKET. Without one its events and seals are sent, and its file is left for an owner with a key.\n\nExit codes: 0 all sent, 1 a damaged spool was found, 3 some events are left, 64 wrong use`,
    )
    .action((directory: string, options: DrainOptions) => drain(directory, options, terminal, exit))
}

/** By topic and state: a state without a spool has no series, and none of its alerts fires. */
function spoolMetrics(found: readonly SpoolStatus[]): FileMetric[] {
  const groups = [...Map.groupBy(found, ({ topic, state }) => JSON.stringify([topic, state])).values()]
  const metric = (name: string, help: string, read: (of: SpoolStatus[]) => number): FileMetric => {
    const samples = groups.map((of) => ({
      labels: { topic: of[0]?.topic ?? '', state: of[0]?.state ?? '' },
      value: read(of),
    }))
    return { name, help, samples: samples.filter(({ value }) => Number.isFinite(value)) }
  }
  const now = Date.now() / 1000
  return [
    { name: 'audit_spool_status_timestamp_seconds', help: 'When the spools were listed.', samples: [{ value: now }] },
    metric('audit_spool_files', 'Spools on this disk.', (of) => of.length),
    metric('audit_spool_file_bytes', 'Size of their files, bytes.', (of) => sum(of, ({ fileBytes }) => fileBytes)),
    metric('audit_spool_records', 'Events not acknowledged, of dead runs.', (of) => sum(of, ({ records }) => records)),
    metric('audit_spool_oldest_timestamp_seconds', 'When the oldest of them was recorded.', oldest),
  ]
}

function sum(of: SpoolStatus[], read: (spool: SpoolStatus) => number | null): number {
  return of.reduce((total, spool) => total + (read(spool) ?? 0), 0)
}

/** Seconds since 1970; infinite where no spool tells it. */
function oldest(of: SpoolStatus[]): number {
  return Math.min(...of.map(({ oldestMs }) => oldestMs ?? Infinity)) / 1000
}

function isDamaged({ state }: SpoolStatus): boolean {
  return state === 'damaged' || state === 'set-aside'
}

function statusText(found: readonly SpoolStatus[], directory: string, terminal: Terminal): string {
  if (found.length === 0) return `no spools below ${directory}\n`
  const reasons = found.flatMap(({ file, reason }) => (reason === null ? [] : `${printable(`${file}: ${reason}`)}\n`))
  return `${table(COLUMNS, found, painter(terminal.colors))}${sealsText(found)}${reasons.join('')}`
}

function sealFigure({ seals }: SpoolStatus, read: (seals: SpoolSealStatus) => number): string {
  return seals === null ? '-' : figure(read(seals))
}

/** How long records wait for a seal, and seals for their topic. */
function sealsText(found: readonly SpoolStatus[]): string {
  const of = found.flatMap(({ seals }) => seals ?? [])
  const unsealed = of.map(({ unsealed: count, oldestUnsealedMs: oldestMs }) => ({ count, oldestMs }))
  const unsent = of.map(({ unsent: count, oldestUnsentMs: oldestMs }) => ({ count, oldestMs }))
  return waitingLine('unsealed event', unsealed) + waitingLine('unsent seal', unsent)
}

function waitingLine(what: string, of: readonly { count: number; oldestMs: number | null }[]): string {
  const count = of.reduce((total, each) => total + each.count, 0)
  if (count === 0) return ''
  const since = Math.min(...of.map(({ oldestMs }) => oldestMs ?? Infinity))
  return `${counted(count, what)}, the oldest of ${dayAndTime(isoOf(since))}\n`
}

async function drain(
  directory: string,
  options: DrainOptions,
  terminal: Terminal,
  exit: (code: number) => void,
): Promise<void> {
  const { spoolStatus } = await import('@agent-audit/producer')
  const sealing = await sealingOf(terminal.env)
  const destination = { ...destinationOf(options, terminal), ...sealing, toAnyCluster: options.toAny ?? false }
  const deadline = performance.now() + options.timeoutMs
  const left = (): SpoolStatus[] => spoolStatus(directory).filter(({ state }) => state !== 'live')
  const topics = new Set(left().flatMap(({ topic, state }) => (state === 'set-aside' ? [] : topic)))
  const problems = new Map<string, TrailError>()
  let sent = 0
  for (const topic of topics) {
    sent += await drainTopic({ ...destination, topic, spoolDir: directory }, deadline, problems)
  }
  const remaining = left()
  const waiting = remaining.filter((spool) => spool.state === 'waiting' || spool.state === 'unreadable')
  const damaged = remaining.filter(isDamaged)
  exit(waiting.length > 0 ? EXIT.notCompleted : damaged.length > 0 ? EXIT.finding : EXIT.done)
  if (options.json === true) {
    const said = [...problems.values()].map(({ code, message }) => ({ code, message }))
    return terminal.out(`${asJson({ sent, waiting, damaged, problems: said })}\n`)
  }
  for (const { message } of problems.values()) terminal.err(`agent-audit: ${message}\n`)
  terminal.out(`${counted(sent, 'event')} sent; ${counted(waiting.length, 'spool')} left\n`)
  if (remaining.length > 0) terminal.out(statusText(remaining, directory, terminal))
}

/**
 * What killed runs had not sealed is sealed with this key, whose name is the producer's.
 * @throws InvalidInputError or AuditUnavailableError: a key that cannot be used, or a signer that is not there.
 */
async function sealingOf(env: Environment): Promise<Pick<AuditTrailOptions, 'signing' | 'producerId'>> {
  const { connectSigner, idOfKeyName, keyFromEnvironment } = await import('@agent-audit/seals')
  const [socket, keyFile, key] = ['AUDIT_SIGNER_SOCKET', `${KEY}_FILE`, KEY].map((name) => env[name] ?? '')
  const local = keyFromEnvironment(env, KEY)
  if (local !== undefined && socket)
    throw new InvalidInputError('OPTIONS_INVALID', `AUDIT_SIGNER_SOCKET: expected no ${KEY} beside it`)
  if (local !== undefined) {
    const signing = keyFile ? { keyFile } : { key: (key ?? '').replaceAll('\\n', '\n') }
    return { signing, producerId: idOfKeyName(local.keyName) }
  }
  if (!socket) return {}
  const signer = await connectSigner(socket, { timeoutMs: SIGNER_TIMEOUT_MS })
  signer.close()
  return { signing: { socket }, producerId: idOfKeyName(signer.keyName) }
}

type TopicOptions = Omit<AuditTrailOptions, 'agentId'> & { readonly topic: string; readonly spoolDir: string }

/**
 * A trail on the directory adopts its spools. It is a new run: its events name this command, and explain the events of a
 * damaged spool.
 */
async function drainTopic(options: TopicOptions, deadline: number, problems: Map<string, TrailError>): Promise<number> {
  const { createAuditTrail } = await import('@agent-audit/producer')
  const trail = createAuditTrail({
    ...options,
    agentId: 'agent-audit-spool-drain',
    handleExit: false,
    onProblem: (problem) => problems.set(problem.code, problem),
  })
  const leftMs = (): number => Math.max(1, deadline - performance.now())
  // The trail sends its first event after it has read all adopted events.
  await trail.flush({ timeoutMs: leftMs() })
  while (trail.stats().spoolBytes > 0 && performance.now() < deadline) await sleep(POLL_MS)
  if (!trail.stats().connected && !problems.has('BROKER_UNAVAILABLE')) {
    const where = options.brokers?.join(', ') ?? options.dataDir
    const error = new AuditUnavailableError('BROKER_UNAVAILABLE', `no connection to ${where} within the time limit`)
    problems.set(error.code, error)
  }
  await trail.close({ timeoutMs: leftMs() })
  return trail.stats().adopted
}

function destinationOf(options: DrainOptions, terminal: Terminal): Omit<AuditTrailOptions, 'agentId'> {
  const schemaRegistryUrl = options.schemaRegistry
  const schemaRegistryAccess =
    schemaRegistryUrl === undefined ? undefined : readOrThrow((issues) => readRegistryAccess(terminal.env, issues))
  if (options.dataDir !== undefined) return { dataDir: options.dataDir, schemaRegistryUrl, schemaRegistryAccess }
  const kafka = kafkaOf(options.brokers, terminal.env)
  if (kafka === undefined) {
    throw new InvalidInputError('OPTIONS_INVALID', 'where to? Set KAFKA_BROKERS, or give --brokers or --data-dir')
  }
  const { brokers, ssl, sasl } = kafka
  return { brokers, ssl, sasl, schemaRegistryUrl, schemaRegistryAccess }
}

function isoOf(timeMs: number): string {
  return new Date(timeMs).toISOString()
}
