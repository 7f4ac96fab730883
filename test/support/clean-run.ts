/**
 * One run of a trail with crashes and nothing changed, all drawn by a seed: producers and consumers that are killed, spools that are
 * adopted, rebalances, records that are refused, sent again or unreadable, a foreign producer, and a key that is rotated.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AuditTrail, createAuditTrail } from '@agent-audit/producer'
import { TrailError } from '@agent-audit/schemas'
import { applyRotation, signRotation, type Trust } from '@agent-audit/seals'
import { environmentOf, type Store, type TestLog } from '../consumer/support.ts'
import { type ConsumerProcess, startConsumerProcess } from './consumer-process.ts'
import { makeForeignRun } from './foreign-writer.ts'
import { checkpointsOf } from './seal-log.ts'
import {
  makeKey,
  openSealedLog,
  readNotes,
  readValues,
  runAndKill,
  sendNotes,
  type TestKeyFile,
  trustIn,
  untilAdopted,
  untilSealed,
  WAIT,
} from './sealed-trail.ts'
import { until } from './wait.ts'

const OVERLAP_MS = 3_600_000
const MOST_PAUSE_MS = 1500

export interface CleanRun {
  readonly trust: Trust
  readonly notes: readonly string[]
  readonly checkpoints: readonly string[]
  /** What happened, in words. */
  readonly story: string
}

interface Scene {
  readonly store: Store
  readonly brokers: readonly string[]
  readonly directory: string
  readonly log: TestLog
  readonly random: () => number
  readonly story: string[]
}

export async function makeCleanRun(
  servers: { readonly store: Store; readonly brokers: readonly string[] },
  { directory, random }: { readonly directory: string; readonly random: () => number },
): Promise<CleanRun> {
  const { store, brokers } = servers
  mkdirSync(join(directory, 'spool'), { recursive: true })
  const scene: Scene = { store, brokers, directory, log: await openSealedLog(store, brokers), random, story: [] }
  const { topic } = scene.log
  const keys = Object.fromEntries(
    ['agent', 'killed', 'foreign', 'consumer-a', 'consumer-b', 'notary'].map((name) => [
      name,
      makeKey(directory, name),
    ]),
  ) as Record<'agent' | 'killed' | 'foreign' | 'consumer-a' | 'consumer-b' | 'notary', TestKeyFile>
  const next = makeKey(directory, 'agent')
  const consumers = [new Member(scene, keys['consumer-a']), new Member(scene, keys['consumer-b'])]
  await Promise.all([troubleOf(consumers, scene), recordAll(scene, { ...keys, next })])
  await untilAdopted(brokers, topic, scene.story.filter((act) => act.startsWith('killed a producer')).length)
  await untilSealed(brokers, scene.log)
  for (const consumer of consumers) await consumer.drain()
  const notes = await readNotes(brokers, topic)
  const trust = trustIn(
    [
      ['producer', keys.agent],
      ['producer', keys.killed],
      ['producer', keys.foreign],
      ['consumer', keys['consumer-a']],
      ['consumer', keys['consumer-b']],
      ['notary', keys.notary],
    ],
    ['agent', 'killed', 'foreign'],
  )
  const rotation = await signRotation(keys.agent.signer, next.signer.key, Date.now() - OVERLAP_MS / 2)
  const sizes = [...new Set([1 + Math.floor(random() * notes.length), notes.length])].toSorted((a, b) => a - b)
  return {
    trust: applyRotation(trust, rotation, OVERLAP_MS),
    notes,
    checkpoints: checkpointsOf(notes, sizes, keys.notary.signer),
    story: scene.story.join(', '),
  }
}

/** A consumer that is killed and started again. */
class Member {
  readonly #scene: Scene
  readonly #key: TestKeyFile
  #process: ConsumerProcess | undefined

  constructor(scene: Scene, key: TestKeyFile) {
    this.#scene = scene
    this.#key = key
  }

  get isRunning(): boolean {
    return this.#process !== undefined
  }

  start(): void {
    const { store, log, random } = this.#scene
    this.#process = startConsumerProcess({
      ...environmentOf(store, log),
      BATCH_MAX_EVENTS: String(10 + Math.floor(random() * 90)),
      SESSION_TIMEOUT_MS: '2500',
      AUDIT_SIGNING_KEY_FILE: this.#key.file,
    })
  }

  async kill(): Promise<void> {
    await this.#process?.kill('SIGKILL')
    this.#process = undefined
  }

  async drain(): Promise<void> {
    const process = this.#process
    this.#process = undefined
    // By the signal itself, if that came before the consumer listened for it: then nothing was begun.
    const how = process === undefined ? 0 : await process.kill('SIGTERM')
    if (how !== 0 && how !== 'SIGTERM') throw new Error(`a consumer drained with ${how}: ${process?.stderr}`)
  }
}

/** Starts, kills and drains consumers at random times; one at least runs at the end. */
async function troubleOf([first, second]: readonly Member[], { random, story }: Scene): Promise<void> {
  if (first === undefined || second === undefined) throw new Error('expected two consumers')
  const pause = (): Promise<void> => sleep(random() * MOST_PAUSE_MS)
  first.start()
  await pause()
  if (random() < 0.6) {
    second.start()
    story.push('a second consumer joins')
    await pause()
  }
  await pause()
  if (random() < 0.7) {
    await first.kill()
    story.push('killed a consumer')
    await pause()
    if (!second.isRunning || random() < 0.5) first.start()
  } else if (second.isRunning) {
    await first.drain()
    story.push('a consumer leaves')
  }
}

type Keys = Readonly<Record<'agent' | 'next' | 'killed' | 'foreign', TestKeyFile>>

async function recordAll(scene: Scene, keys: Keys): Promise<void> {
  const { brokers, directory, log, random, story } = scene
  const spoolDir = join(directory, 'spool')
  const events = 1 + Math.floor(random() * 120)
  await runAndKill({ brokers, topic: log.topic, spoolDir, keyFile: keys.killed.file }, events)
  story.push(`killed a producer at ${events} events`)
  await record(scene, { key: keys.agent, spoolDir, name: 'one' })
  if (random() < 0.5) await record(scene, { key: keys.next, spoolDir, name: 'two' })
  const partition = Math.floor(random() * 2)
  const run = makeForeignRun({
    topic: log.topic,
    signer: keys.foreign.signer,
    count: 5 + Math.floor(random() * 30),
    random,
  })
  await log.append(partition, run.records)
  await sendNotes(brokers, log.topic, run.notes)
  const first = Math.floor(random() * 20)
  const again = (await readValues(brokers, log.topic, partition)).slice(first, first + Math.floor(random() * 20))
  const dead = [null, Buffer.from('not a record'), Buffer.alloc(0)].slice(0, Math.floor(random() * 4))
  if (again.length + dead.length > 0) await log.append(partition, [...again, ...dead])
  story.push(`${again.length} sent again`, `${dead.length} unreadable`)
}

/** Sessions of a producer, some of whose records are refused. */
async function record(
  { brokers, log, random, story }: Scene,
  { key, spoolDir, name }: { key: TestKeyFile; spoolDir: string; name: string },
): Promise<void> {
  const trail: AuditTrail = createAuditTrail({
    agentId: 'agent',
    handleExit: false,
    brokers,
    topic: log.topic,
    spoolDir,
    signing: { key: key.pem },
    onOversize: 'refuse',
    maxRecordBytes: 20_000,
    onProblem: () => {},
  })
  let refused = 0
  for (let number = 0; number < 1 + random() * 3; number++) {
    const session = trail.startSession({ session_id: `session ${name} ${number}` })
    for (let index = 0; index < random() * 60; index++) {
      const isLarge = random() < 0.05
      try {
        await session.decision({ reasoning: isLarge ? 'large '.repeat(10_000) : `${name} ${index}` }).stored
      } catch (error) {
        if (!(error instanceof TrailError) || error.code !== 'RECORD_TOO_LARGE') throw error
        refused++
      }
    }
    session.end({ outcome: 'success' })
  }
  story.push(`${refused} refused`)
  // The dead run's spool is adopted and sent while a producer lives: its own spool stays until it is closed.
  const spools = (): string[] => readdirSync(join(spoolDir, log.topic)).filter((file) => file.endsWith('.spool'))
  await until('the spools are drained', () => spools().length <= 1 || undefined, { timeoutMs: WAIT.timeout })
  await trail.close({ timeoutMs: WAIT.timeout })
  if (spools().length > 0) throw new Error(`left behind: ${spools().join(', ')}`)
}
