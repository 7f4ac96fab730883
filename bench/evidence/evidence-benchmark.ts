/**
 * Export and check of the evidence of one session: in this process, and as the whole command that a user runs, start of the process
 * included. The session stands among others in the log of a real producer, stored by a real consumer in a real ClickHouse.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAnalytics, exportEvidence, registerLog } from '@agent-audit/analytics'
import { createConsumer, makeEmbeddedTopic, readSettings } from '@agent-audit/consumer'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { createAuditTrail } from '@agent-audit/producer'
import { checkEvidence } from '@agent-audit/seals/evidence'
import { openEmbeddedLog } from '@agent-audit/spool'
import { pino } from 'pino'
import { readSealedLog, type SealedLog, trustOf } from '../../test/support/evidence.ts'
import { storeSeals } from '../../test/support/notary-rows.ts'
import { newKey } from '../../test/support/sealed-runs.ts'
import { SMALL_SESSIONS } from '../support/sessions.ts'
import { median } from '../support/results.ts'

export interface EvidenceOptions {
  /** Of the session. */
  readonly events: number
  /** Of other sessions of the same run. */
  readonly others: number
  readonly rounds: number
}

/** Medians of the rounds, milliseconds. */
export interface EvidenceFigures {
  readonly events: number
  readonly others: number
  readonly bundleBytes: number
  readonly exportMs: number
  readonly checkMs: number
  readonly exportCommandMs: number
  readonly checkCommandMs: number
}

const SESSION = 'the session'
const NAMES = { topic: 'audit.events', groupId: 'audit-writer' }
const PARTITIONS = 4
const CLI = fileURLToPath(new URL('../../cli', import.meta.url))

export async function measureEvidence({ events, others, rounds }: EvidenceOptions): Promise<EvidenceFigures> {
  const directory = mkdtempSync(join(tmpdir(), 'agent-audit-bench-evidence-'))
  const dataDir = await openDataDir(directory)
  try {
    const log = await fill(dataDir, { events, others })
    const trust = trustOf(log)
    const [inProcess, commands] = [[] as number[][], [] as number[][]]
    const run = installedCommand(directory)
    const files = { trust: join(directory, 'trust.txt'), bundle: join(directory, 'session.evidence') }
    writeFileSync(files.trust, trust)
    let bundleBytes = 0
    // The first of each is not counted: caches are cold then.
    for (let round = 0; round <= rounds; round++) {
      const { bundle, times } = await exportAndCheck(dataDir, trust)
      bundleBytes = bundle.length
      const command = runCommands(run, dataDir, files)
      if (round === 0) continue
      inProcess.push(times)
      commands.push(command)
    }
    return {
      events,
      others,
      bundleBytes,
      exportMs: medianOf(inProcess, 0),
      checkMs: medianOf(inProcess, 1),
      exportCommandMs: medianOf(commands, 0),
      checkCommandMs: medianOf(commands, 1),
    }
  } finally {
    await dataDir.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

function medianOf(measured: readonly number[][], index: number): number {
  return median(measured.map((each) => each[index] ?? 0))
}

/** Records, stores, seals. */
async function fill(
  dataDir: DataDir,
  { events, others }: Pick<EvidenceOptions, 'events' | 'others'>,
): Promise<SealedLog> {
  const { logDir } = dataDir
  mkdirSync(logDir, { recursive: true })
  makeEmbeddedTopic(logDir, NAMES, PARTITIONS)
  const made = openEmbeddedLog({ directory: logDir })
  const sourceId = made.id
  made.createTopic(NAMES.topic, PARTITIONS)
  made.close()
  {
    await using admin = connectAnalytics(dataDir.admin)
    await registerLog(admin, { sourceId, topic: NAMES.topic, consumerGroup: NAMES.groupId })
  }
  const keys = { producer: newKey('agent-1'), notary: newKey('notary-1') }
  await record(logDir, keys.producer.pem, { events, others })
  await consume(dataDir, events + others)
  const log = readSealedLog(logDir, keys)
  await storeSeals({ dataDir, send: sendTo(dataDir) } as never, log)
  return log
}

async function record(
  logDir: string,
  key: string,
  { events, others }: { events: number; others: number },
): Promise<void> {
  const trail = createAuditTrail({ agentId: 'agent-1', dataDir: logDir, signing: { key }, handleExit: false })
  const every = Math.max(1, Math.round(others / events))
  const texts = SMALL_SESSIONS.map((script) => JSON.stringify(script).slice(0, 400))
  const session = trail.startSession({ session_id: SESSION })
  const beside = others > 0 ? trail.startSession({ session_id: 'another one' }) : undefined
  let [own, other] = [1, 1]
  for (let index = 0; own < events - 1 || other < others - 1; index++) {
    const isOwn = other >= others - 1 || (own < events - 1 && index % (every + 1) === 0)
    const to = isOwn ? session : beside
    to?.decision({ reasoning: `${index} ${texts[index % texts.length] ?? ''}` })
    if (isOwn) own++
    else other++
    // A producer's memory is bounded: an agent waits as well.
    if (index % 2000 === 1999) await trail.flush()
  }
  session.end()
  beside?.end()
  await trail.close()
}

async function consume(dataDir: DataDir, expected: number): Promise<void> {
  const { url, username, password } = dataDir.writer
  const settings = readSettings({
    AUDIT_DATA_DIR: dataDir.logDir,
    AUDIT_TOPICS: NAMES.topic,
    AUDIT_GROUP_ID: NAMES.groupId,
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    LOG_LEVEL: 'silent',
  })
  const drain = new AbortController()
  const running = createConsumer(settings, pino({ level: 'silent' })).run(drain.signal)
  await using reader = connectAnalytics(dataDir.reader)
  for (let stored = 0; stored < expected;) {
    const [row] = await reader.rows<{ stored: number }>(
      'SELECT toFloat64(count()) AS stored FROM {database:Identifier}.audit_events',
    )
    stored = row?.stored ?? 0
    await Promise.race([sleep(50), running])
  }
  drain.abort()
  await running
}

function sendTo({ admin }: DataDir) {
  return async (statement: string, user: { username: string; password: string }): Promise<string> => {
    const headers = { 'X-ClickHouse-User': user.username, 'X-ClickHouse-Key': user.password }
    const response = await fetch(`${admin.url}/?database=audit`, { method: 'POST', body: statement, headers })
    return response.text()
  }
}

async function exportAndCheck(dataDir: DataDir, trust: string): Promise<{ bundle: Buffer; times: number[] }> {
  const startedAt = performance.now()
  await using analytics = connectAnalytics(dataDir.reader)
  const made = await exportEvidence(analytics, SESSION, { trust })
  const exportedAt = performance.now()
  const report = checkEvidence(made?.bundle ?? Buffer.alloc(0), { trust })
  const checkedAt = performance.now()
  if (report.verdict !== 'verified') throw new Error(`expected verified, found ${JSON.stringify(report.findings[0])}`)
  return { bundle: made?.bundle ?? Buffer.alloc(0), times: [exportedAt - startedAt, checkedAt - exportedAt] }
}

/** The command as it is published: built, without its sources beside. */
function installedCommand(directory: string): string {
  const bin = join(directory, 'installed', 'bin')
  mkdirSync(bin, { recursive: true })
  copyFileSync(join(CLI, 'bin', 'agent-audit.js'), join(bin, 'agent-audit.js'))
  symlinkSync(join(CLI, 'dist'), join(directory, 'installed', 'dist'))
  copyFileSync(join(CLI, 'package.json'), join(directory, 'installed', 'package.json'))
  return join(bin, 'agent-audit.js')
}

function runCommands(command: string, { reader }: DataDir, files: { trust: string; bundle: string }): number[] {
  const { url, username, password } = reader
  const env = { ...process.env, CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  rmSync(files.bundle, { force: true })
  const steps = [
    ['evidence', 'export', SESSION, '-o', files.bundle, '--trust', files.trust],
    ['evidence', 'check', files.bundle, '--trust', files.trust],
  ]
  return steps.map((args) => {
    const startedAt = performance.now()
    const { status, stderr } = spawnSync(process.execPath, [command, ...args], { env, encoding: 'utf8' })
    if (status !== 0) throw new Error(`${args.slice(0, 2).join(' ')} ended with ${status}: ${stderr}`)
    return performance.now() - startedAt
  })
}
