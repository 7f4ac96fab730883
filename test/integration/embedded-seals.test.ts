/** The trail of one machine, sealed from end to end: a producer, consumers and a notary on the embedded log. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAnalytics, registerLog } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { makeEmbeddedTopic } from '@agent-audit/consumer'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { logIdOf } from '@agent-audit/schemas'
import { generateKey, openKeyFile, readCheckpointLine, type VerifierKey } from '@agent-audit/seals'
import { SignerService } from '@agent-audit/seals/signer-service'
import { openEmbeddedLog, openEmbeddedLogReader } from '@agent-audit/spool'
import { expect, it, onTestFinished } from 'vitest'
import { openTrail } from '../producer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { chainFaults, rowFaults, type SealedRange, sealedRanges } from '../support/consumer-seals.ts'
import { readMetric } from '../support/metrics.ts'
import { encodeRun } from '../support/records.ts'
import { checkSeals, newKey, readMessages } from '../support/sealed-runs.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const WAIT = { timeout: 60_000, interval: 50 }
const TOPIC = 'audit.events'
const GROUP = 'audit-writer'
const PARTITIONS = 4

interface Trail {
  readonly directory: string
  readonly dataDir: DataDir
  readonly sourceId: string
  /** The consumer's settings, without a key. */
  readonly environment: Record<string, string>
  /** How many events are stored. */
  readonly stored: () => Promise<number>
}

async function open(): Promise<Trail> {
  const directory = makeTempDirectory()
  const dataDir = await openDataDir(directory)
  onTestFinished(() => dataDir.close())
  const sourceId = makeEmbeddedTopic(dataDir.logDir, { topic: TOPIC, groupId: GROUP }, PARTITIONS)
  const admin = connectAnalytics(dataDir.admin)
  onTestFinished(() => admin.close())
  await registerLog(admin, { sourceId, topic: TOPIC, consumerGroup: GROUP })
  const { url, username, password } = dataDir.writer
  return {
    directory,
    dataDir,
    sourceId,
    environment: {
      AUDIT_DATA_DIR: dataDir.logDir,
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      BATCH_MAX_AGE_MS: '50',
      BATCH_MAX_EVENTS: '100',
      INSERT_TIMEOUT_MS: '1200',
      LEASE_MS: '1500',
      CLOCK_MARGIN_MS: '100',
      SESSION_TIMEOUT_MS: '2000',
      LOG_LEVEL: 'info',
    },
    stored: async () => {
      const [row] = await admin.rows<{ n: number }>('SELECT toFloat64(count()) AS n FROM audit.audit_events')
      return row?.n ?? 0
    },
  }
}

function keyFile(directory: string, name: string): string {
  const file = join(directory, `${name}.key`)
  writeFileSync(file, generateKey(name), { mode: 0o600 })
  return file
}

function notesIn({ dataDir }: Trail): string[] {
  return readMessages(dataDir.logDir, `${TOPIC}.seals`).map(({ value }) => Buffer.from(value).toString())
}

/** Of each partition. */
function boundsOf({ dataDir }: Trail): { start: number; end: number }[] {
  const log = openEmbeddedLogReader({ directory: dataDir.logDir })
  try {
    return Array.from({ length: PARTITIONS }, (_, partition) => log.bounds(TOPIC, partition))
  } finally {
    log.close()
  }
}

async function faultsOf(trail: Trail, keys: readonly VerifierKey[]): Promise<string[]> {
  const sealed: SealedRange[] = sealedRanges(notesIn(trail), keys)
  const chains = boundsOf(trail).flatMap(({ end }, partition) => chainFaults(sealed, partition, end))
  const rows = await Promise.all(sealed.map((range) => rowFaults(trail.dataDir.admin, range)))
  const logId = logIdOf(trail.sourceId, TOPIC).toString('hex')
  const others = sealed.filter(({ seal }) => seal.logId !== logId)
  return [...chains, ...rows.flat(), ...others.map(({ text }) => `of another log: ${text}`)]
}

it(
  'every record is sealed by its producer and by a consumer, and the notary has all seals',
  { timeout: 240_000 },
  async () => {
    const trail = await open()
    const producerKey = newKey('agent-1')
    const producer = openTrail({ dataDir: trail.dataDir.logDir, signing: { key: producerKey.pem } })
    const sessions = Array.from({ length: 20 }, () => producer.startSession())
    for (let index = 0; index < 3000; index++) sessions[index % 20]?.decision({ reasoning: `step ${index}` })
    await producer.close()
    const events = readMessages(trail.dataDir.logDir, TOPIC)
    const consumers = ['consumer-a', 'consumer-b'].map((name) => keyFile(trail.directory, name))
    for (const [round, key] of consumers.entries()) {
      const killed = startConsumerProcess({ ...trail.environment, AUDIT_SIGNING_KEY_FILE: key })
      await expect.poll(trail.stored, { ...WAIT, interval: 5 }).toBeGreaterThan((round * events.length) / 3)
      expect(await killed.kill('SIGKILL')).toBe('SIGKILL')
    }
    const last = startConsumerProcess({ ...trail.environment, AUDIT_SIGNING_KEY_FILE: consumers[0] ?? '' })
    await expect.poll(trail.stored, WAIT).toBe(events.length)
    expect(await last.kill('SIGTERM')).toBe(0)
    // By the consumers.
    const keys = consumers.map((file) => openKeyFile(file).key)
    expect(await faultsOf(trail, keys)).toEqual([])
    // What is stored and sealed has left the log, all but the last record.
    expect(boundsOf(trail).every(({ start, end }) => start === Math.max(0, end - 1))).toBe(true)
    // By the producer.
    const ofProducer = readMessages(trail.dataDir.logDir, `${TOPIC}.seals`).filter(({ value }) =>
      Buffer.from(value).includes('v1 producer\n'),
    )
    const run = checkSeals(events, ofProducer, [producerKey]).get(producer.runId)
    expect(run).toMatchObject({ faults: [], unsealed: [], sealedTwice: [], missing: [] })
    expect(run?.records).toHaveLength(events.length)
    // And the notary, as a person starts it.
    const checkpoints = join(trail.directory, 'checkpoints')
    const stop = new AbortController()
    const notary = runCli(
      ['notary', '--data-dir', trail.directory, '--key', keyFile(trail.directory, 'notary'), '--file', checkpoints],
      { out: () => {}, err: () => {}, env: {}, colors: false, interrupted: () => stop.signal },
    )
    const size = (): number => {
      const lines = existsSync(checkpoints) ? readFileSync(checkpoints, 'utf8').trimEnd().split('\n') : []
      return readCheckpointLine(lines.at(-1) ?? '')?.size ?? 0
    }
    await expect.poll(size, WAIT).toBe(new Set(notesIn(trail)).size)
    stop.abort()
    expect(await notary).toBe(0)
  },
)

it(
  'records stay in the log while the signer is away, are stored all the same, and sealed once it is back',
  { timeout: 120_000 },
  async () => {
    const trail = await open()
    const key = keyFile(trail.directory, 'consumer')
    const socketPath = join(trail.directory, 'run', 'signer.sock')
    const consumer = startConsumerProcess({ ...trail.environment, AUDIT_SIGNER_SOCKET: socketPath })
    const log = openEmbeddedLog({ directory: trail.dataDir.logDir })
    onTestFinished(() => log.close())
    const append = (run: string, first: number, last: number): void => {
      log.append(
        TOPIC,
        0,
        encodeRun(run, first, last).map((value) => ({ key: Buffer.from('key'), value })),
      )
    }
    const waiting = async (): Promise<number | undefined> => {
      const text = await (await fetch(`${await consumer.url()}/metrics`)).text()
      return readMetric(text, 'audit_seals_waiting')
    }
    append('first', 0, 199)
    await expect.poll(trail.stored, WAIT).toBe(200)
    await expect.poll(waiting, WAIT).toBe(1)
    append('first', 200, 399)
    await expect.poll(trail.stored, WAIT).toBe(400)
    expect(boundsOf(trail)[0]).toEqual({ start: 0, end: 400 })
    const signer = openKeyFile(key)
    const service = await SignerService.start({
      signer,
      socketPath,
      stateFile: join(trail.directory, 'state'),
      role: 'consumer',
    })
    onTestFinished(() => service.close())
    await expect.poll(waiting, WAIT).toBe(0)
    await expect.poll(() => boundsOf(trail)[0], WAIT).toEqual({ start: 399, end: 400 })
    expect(await consumer.kill('SIGTERM')).toBe(0)
    expect(await faultsOf(trail, [signer.key])).toEqual([])
  },
)
