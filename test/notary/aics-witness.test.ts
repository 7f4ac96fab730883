/**
 * The notary and a witness of another party, PyPI's aics-witness: it cosigns what grows consistently, refuses all else, and stops
 * nothing while it is away. Needs Python 3.12 with venv, or AUDIT_PYTHON with the path of one, and PyPI; skipped aloud without.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type SealTables, WitnessSink } from '@agent-audit/notary'
import { leafHash, MerkleTree, signCheckpoint, VerifierKey, verifyCheckpoint } from '@agent-audit/seals'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { freePort } from '../support/free-port.ts'
import { findPython } from '../support/python.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { until } from '../support/wait.ts'
import {
  MemorySink,
  newSigner,
  openSealTopic,
  producerNote,
  runNotary,
  type Running,
  type SealTopic,
  tablesOf,
} from './support.ts'

const found = findPython('aics-witness', fileURLToPath(new URL('aics-witness/requirements.txt', import.meta.url)))
const [missing, python] = 'missing' in found ? [found.missing, ''] : ['', found.python]
if (missing !== '') process.stderr.write(`SKIPPED: tests against a witness of another party: ${missing}\n`)

const ORIGIN = 'trail.example/seals'
const store = await openStore()
const signer = newSigner('notary-1')
const producer = newSigner('agent')
const notes = Array.from({ length: 60 }, (_, number) => producerNote(producer, number))

interface Evidence {
  readonly origin: string
}

interface Witness {
  readonly url: string
  readonly key: VerifierKey
  /** Requests of the log's key that failed its checks of consistency. */
  evidence(): Evidence[]
  start(): Promise<void>
  /** Kills it. */
  stop(): Promise<void>
}

/** Started, and it knows the log. */
async function startWitness(): Promise<Witness> {
  const [folder, port] = [makeTempDirectory(), await freePort()]
  const env = { PATH: process.env['PATH'], AICS_WITNESS_CONFIG: join(folder, 'witness.json') }
  const ask = (...args: string[]): string =>
    execFileSync(python, ['-m', 'aics_witness', ...args], { env, cwd: folder, stdio: 'pipe' }).toString()
  const printed = ask('init', '--name', 'witness.example/w1')
  const vkey = /witness\.example\/w1\+[0-9a-f]{8}\+\S+/.exec(printed)?.[0] ?? ''
  ask('add-log', '--origin', ORIGIN, '--vkey', signer.vkey)
  const url = `http://127.0.0.1:${port}`
  let child: ChildProcess | undefined
  const isUp = async (): Promise<true | undefined> =>
    fetch(`${url}/healthz`).then(
      ({ ok }) => ok || undefined,
      () => undefined,
    )
  const start = async (): Promise<void> => {
    const args = ['-m', 'aics_witness', 'serve', '--listen', `127.0.0.1:${port}`, '--log-level', 'ERROR']
    child = spawn(python, args, { env, cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
    await until('the witness answers', isUp)
  }
  const stop = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  onTestFinished(stop)
  await start()
  return {
    url,
    key: VerifierKey.parse(vkey),
    evidence: () => JSON.parse(ask('evidence', '--origin', ORIGIN)) as Evidence[],
    start,
    stop,
  }
}

function run(topic: SealTopic, { url, key }: Witness, memory = new MemorySink()): Running {
  return runNotary(store, {
    source: topic.source(),
    signer,
    origin: ORIGIN,
    createSinks: ({ tree }) => [new WitnessSink({ url, keys: [key], tree }), memory],
  })
}

/** Sizes of stored checkpoints that the witness has cosigned, the largest first. */
async function cosignedSizes(tables: SealTables, { key }: Witness): Promise<number[]> {
  const keys = { log: [signer.key], witnesses: [key] }
  const kept = (await tables.checkpoints(50)).map((note) => verifyCheckpoint(note, keys))
  return kept.filter(({ witnesses }) => witnesses.length > 0).map(({ size }) => size)
}

describe.skipIf(missing !== '')(`a witness of another party${missing === '' ? '' : ` (skipped: ${missing})`}`, () => {
  it('cosigns a log that grows, across its own outage and restarts of the notary; its cosignatures are stored', async () => {
    const [witness, topic, memory] = [await startWitness(), openSealTopic(), new MemorySink()]
    const tables = tablesOf(store, topic.logId)
    topic.append(notes.slice(0, 3))
    const first = run(topic, witness, memory)
    await expect.poll(() => cosignedSizes(tables, witness)).toEqual([3])
    topic.append(notes.slice(3, 20))
    await expect.poll(() => cosignedSizes(tables, witness)).toEqual([20, 3])

    await witness.stop()
    topic.append(notes.slice(20, 31))
    await expect.poll(() => memory.size).toBe(31)
    await expect.poll(() => first.sinks.at(-1)).toMatch(/^waits witness 127\.0\.0\.1:\d+: .*ECONNREFUSED/)
    topic.append(notes.slice(31, 40))
    await expect.poll(() => memory.size).toBe(40)
    await witness.start()
    await expect.poll(() => cosignedSizes(tables, witness)).toEqual([40, 20, 3])
    expect(first.sinks.at(-1)).toMatch(/^goes on witness/)
    await first.stop()

    topic.append(notes.slice(40))
    run(topic, witness)
    await expect.poll(() => cosignedSizes(tables, witness)).toEqual([60, 40, 20, 3])
    expect(witness.evidence()).toEqual([])
  })

  it.each([
    [
      'a fork',
      [...notes.slice(0, 5), ...notes.slice(20, 29)],
      /refuses 14 leaves .* not consistent with the 6 leaves/,
      1,
    ],
    [
      'a fork of the same size',
      [...notes.slice(0, 5), ...notes.slice(20, 21)],
      /refuses 6 leaves .* not consistent/,
      1,
    ],
    ['a log that was rolled back', notes.slice(0, 4), /has cosigned 6 leaves .* the log has 4: seals are gone/, 0],
  ])('ends a notary that shows it %s', async (_, leaves, message, evidence) => {
    const [witness, topic, forked] = [await startWitness(), openSealTopic(), openSealTopic()]
    topic.append(notes.slice(0, 6))
    const first = run(topic, witness)
    await expect.poll(() => cosignedSizes(tablesOf(store, topic.logId), witness)).toEqual([6])
    await first.stop()
    forked.append(leaves)
    const failure = await run(forked, witness).failure
    expect(failure).toMatchObject({ code: 'SEAL_LOG_CHANGED', message: expect.stringMatching(message) })
    // It keeps what it refused, signed by the notary.
    expect(Math.min(witness.evidence().length, 1)).toBe(evidence)
    expect(await cosignedSizes(tablesOf(store, forked.logId), witness)).toEqual([])
  })

  it('takes our proof of consistency alone', async () => {
    const witness = await startWitness()
    const tree = new MerkleTree()
    for (const note of notes) tree.append(leafHash(note))
    const add = async (old: number, size: number, proof: readonly Buffer[]): Promise<number> => {
      const checkpoint = signCheckpoint(signer, { origin: ORIGIN, size, root: tree.root(size) }, 1_795_000_000)
      const body = `${[`old ${old}`, ...proof.map((hash) => hash.toString('base64'))].join('\n')}\n\n${checkpoint}`
      return (await fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body })).status
    }
    expect(await add(0, 23, [])).toBe(200)
    const proof = tree.consistencyProof(23, 60)
    expect(await add(23, 60, proof.slice(1))).toBe(422)
    expect(
      await add(
        23,
        60,
        proof.map((hash, at) => (at === 2 ? Buffer.alloc(32, 1) : hash)),
      ),
    ).toBe(422)
    expect(await add(22, 60, tree.consistencyProof(22, 60))).toBe(409)
    expect(await add(23, 60, proof)).toBe(200)
  })
})
