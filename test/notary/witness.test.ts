/** A witness of C2SP over HTTP that checks signatures and proofs, and the tiles of a log as another tool reads them. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { TilesSink, WitnessSink } from '@agent-audit/notary'
import {
  bundlesBetween,
  type Checkpoint,
  consistencyProofOf,
  hashesOfTiles,
  type KeySigner,
  parseEntries,
  rootOf,
  tilePath,
  type VerifierKey,
  verifyCheckpoint,
  verifyConsistency,
} from '@agent-audit/seals'
import { expect, it, onTestFinished } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { newSigner, openSealTopic, producerNote, runNotary, tablesOf } from './support.ts'

const store = await openStore()
const signer = newSigner('notary-1')
const producer = newSigner('agent')
const notes = Array.from({ length: 700 }, (_, number) => producerNote(producer, number))

interface Witness {
  readonly url: string
  readonly key: VerifierKey
  readonly requests: string[]
  cosigned: Checkpoint | undefined
  away: boolean
}

/** One log of one key, as c2sp.org/tlog-witness has it. */
async function startWitness(cosigner: KeySigner, log: VerifierKey): Promise<Witness> {
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      const [status, text] = witness.away ? [503, 'away\n'] : answer(body)
      witness.requests.push(`${request.method} ${request.url} ${body.split('\n')[0]} ${status}`)
      response.writeHead(status).end(text)
    })
  })
  const answer = (body: string): [number, string] => {
    const end = body.indexOf('\n\n')
    const [old = '', ...proof] = body.slice(0, end).split('\n')
    const note = body.slice(end + 2)
    let checkpoint: Checkpoint
    try {
      checkpoint = verifyCheckpoint(note, { log: [log] })
    } catch {
      return [403, 'signature\n']
    }
    const last = witness.cosigned ?? { size: 0, root: rootOf(() => Buffer.alloc(0), 0) }
    if (old !== `old ${last.size}`) return [409, `${last.size}\n`]
    if (checkpoint.size < last.size) return [400, 'size\n']
    const consistent = verifyConsistency({
      from: last.size,
      to: checkpoint.size,
      oldRoot: last.root,
      newRoot: checkpoint.root,
      proof: proof.map((line) => Buffer.from(line, 'base64')),
    })
    if (!consistent) return [422, 'proof\n']
    witness.cosigned = checkpoint
    return [200, cosigner.cosignatureLine(note.slice(0, note.indexOf('\n\n') + 1), 1_795_000_001)]
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/w`
  const witness: Witness = { url, key: cosigner.key.cosigner, requests: [], cosigned: undefined, away: false }
  return witness
}

it('cosigns what grows consistently, also after a restart of the notary and an outage of its own', async () => {
  const topic = openSealTopic()
  const cosigner = newSigner('witness.example/w1')
  const witness = await startWitness(cosigner, signer.key)
  const run = (): ReturnType<typeof runNotary> =>
    runNotary(store, {
      source: topic.source(),
      signer,
      createSinks: ({ tree }) => [new WitnessSink({ url: witness.url, keys: [witness.key], tree })],
    })
  topic.append(notes.slice(0, 3))
  const first = run()
  await expect.poll(() => witness.cosigned?.size).toBe(3)
  topic.append(notes.slice(3, 7))
  await expect.poll(() => witness.cosigned?.size).toBe(7)
  await first.stop()
  expect(witness.requests.slice(0, 2)).toEqual(['POST /w/add-checkpoint old 0 200', 'POST /w/add-checkpoint old 3 200'])
  const second = run()
  await expect
    .poll(() => witness.requests.slice(2))
    .toEqual(['POST /w/add-checkpoint old 0 409', 'POST /w/add-checkpoint old 7 200'])
  witness.away = true
  topic.append(notes.slice(7, 12))
  await expect.poll(() => second.sinks.length).toBeGreaterThan(0)
  expect(second.signed.at(-1)?.size).toBe(12)
  witness.away = false
  await expect.poll(() => witness.cosigned?.size).toBe(12)
  const tables = tablesOf(store, topic.logId)
  await expect
    .poll(async () => {
      const kept = await tables.checkpoints(2)
      const keys = { log: [signer.key], witnesses: [witness.key] }
      return kept
        .map((note) => verifyCheckpoint(note, keys))
        .map(({ size, witnesses }) => [size, witnesses[0]?.seconds])
    })
    .toEqual(expect.arrayContaining([[12, 1_795_000_001]]))
})

it.each([
  ['a fork', notes.slice(20, 29), /refuses 9 leaves .* not consistent with the 6 leaves/],
  ['a log that was rolled back', notes.slice(0, 4), /has cosigned 6 leaves .* the log has 4: seals are gone/],
])('%s ends the notary', async (_, leaves, message) => {
  const witness = await startWitness(newSigner('w1'), signer.key)
  const given = (topic: ReturnType<typeof openSealTopic>): Parameters<typeof runNotary>[1] => ({
    source: topic.source(),
    signer,
    origin: 'trail.example/seals',
    createSinks: ({ tree }) => [new WitnessSink({ url: witness.url, keys: [witness.key], tree })],
  })
  const topic = openSealTopic()
  topic.append(notes.slice(0, 6))
  const first = runNotary(store, given(topic))
  await expect.poll(() => witness.cosigned?.size).toBe(6)
  await first.stop()
  const forked = openSealTopic()
  forked.append(leaves)
  expect(await runNotary(store, given(forked)).failure).toMatchObject({
    code: 'SEAL_LOG_CHANGED',
    message: expect.stringMatching(message),
  })
  expect(witness.cosigned?.size).toBe(6)
})

it('a cosignature by another key counts for nothing', async () => {
  const witness = await startWitness(newSigner('w1'), signer.key)
  const topic = openSealTopic()
  topic.append(notes.slice(0, 6))
  const running = runNotary(store, {
    source: topic.source(),
    signer,
    createSinks: ({ tree }) => [new WitnessSink({ url: witness.url, keys: [newSigner('w1').key.cosigner], tree })],
  })
  await expect.poll(() => running.sinks.join()).toContain('no known key has signed it')
  expect(await tablesOf(store, topic.logId).checkpoints(9)).toHaveLength(1)
})

it('tiles, bundles and checkpoint of a folder are the log, and go on after a restart', async () => {
  const [topic, folder] = [openSealTopic(), makeTempDirectory()]
  const run = (): ReturnType<typeof runNotary> =>
    runNotary(store, { source: topic.source(), signer, createSinks: (log) => [new TilesSink({ folder, ...log })] })
  const read = (path: string): Buffer => readFileSync(join(folder, path))
  const sizeOf = (): number | undefined => {
    try {
      return verifyCheckpoint(read('checkpoint').toString(), { log: [signer.key] }).size
    } catch {
      return undefined
    }
  }
  topic.append(notes.slice(0, 300))
  const first = run()
  await expect.poll(sizeOf).toBe(300)
  await first.stop()
  topic.append(notes.slice(300))
  run()
  await expect.poll(sizeOf).toBe(700)
  const hashes = hashesOfTiles(700, (tile) => read(tilePath(tile)))
  const { root } = verifyCheckpoint(read('checkpoint').toString(), { log: [signer.key] })
  expect(rootOf(hashes, 700).toString('hex')).toBe(root.toString('hex'))
  expect(consistencyProofOf(hashes, 300, 700).length).toBeGreaterThan(0)
  const entries = bundlesBetween(0, 700).flatMap((bundle) => parseEntries(read(tilePath(bundle)), bundle.width))
  expect(entries.map(String)).toEqual(notes.map(String))
})
