/** The notary on a real store: what it stores and signs, how it goes on after a restart, and what it refuses to sign. */
import { connectAnalytics } from '@agent-audit/analytics'
import { readSealTree } from '@agent-audit/notary'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { leafHash, MerkleTree, verifyCheckpoint, verifyConsistency, verifyInclusion } from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { openStore } from '../consumer/support.ts'
import {
  consumerNote,
  type Given,
  MemorySink,
  newSigner,
  openSealTopic,
  producerNote,
  runNotary,
  type Running,
  type SealTopic,
  tablesOf,
} from './support.ts'

const store = await openStore()
const producer = newSigner('agent%201')
const consumer = newSigner('writer-1')
const signer = newSigner('notary-1')
const notes = Array.from({ length: 40 }, (_, number) => producerNote(producer, number))

function treeOf(leaves: readonly Buffer[]): MerkleTree {
  const tree = new MerkleTree()
  for (const leaf of leaves) tree.append(leafHash(leaf))
  return tree
}

/** As the row of a leaf has it. */
function noteColumn(bytes: Buffer): { readonly note: string } {
  return { note: bytes.toString('base64') }
}

function rootOf(leaves: readonly Buffer[]): string {
  return treeOf(leaves).root().toString('hex')
}

function run(topic: SealTopic, given: Partial<Given> = {}): Running {
  return runNotary(store, { source: topic.source(), signer, ...given })
}

/** Runs a notary until it has signed so many leaves. */
async function signUntil(topic: SealTopic, size: number, given: Partial<Given> = {}): Promise<Running> {
  const running = run(topic, given)
  await expect.poll(() => running.signed.at(-1)?.size).toBe(size)
  await running.stop()
  return running
}

describe('the log', () => {
  it('has each message as a leaf, in order: equal ones once, and what is no seal as unread', async () => {
    const topic = openSealTopic()
    const [one, two] = [notes[0] ?? Buffer.alloc(0), notes[1] ?? Buffer.alloc(0)]
    const stored = consumerNote(consumer, 20)
    const [odd, huge, far] = [
      Buffer.from([0xff, 0, 0x27]),
      Buffer.alloc(65_536, 0x61),
      consumerNote(consumer, 0, 2 ** 31),
    ]
    topic.append([one, stored, one, odd, null, Buffer.alloc(0), huge, two, odd, far])
    const sink = new MemorySink()
    const running = await signUntil(topic, 5, { sinks: [sink] })
    expect(running.notLeaves).toEqual([4, 5, 6])
    expect(running.problems).toEqual([])
    const rows = await store.rows(
      `SELECT leaf_index, seals_offset, kind, key_name, topic, producer_id, run_id_hex, number, log_id_hex, log_partition,
         first_number, last_number, seals_topic, base64Encode(note) AS note
       FROM audit_seals WHERE seals_log_id = unhex('${topic.logId.toString('hex')}') ORDER BY leaf_index`,
    )
    const base = { seals_topic: 'audit.events.seals', topic: 'audit.events' }
    const ofRun = { producer_id: 'agent 1', run_id_hex: '0123456789abcdef0123456789abcdef', key_name: 'agent%201' }
    expect(rows).toMatchObject([
      {
        ...base,
        ...ofRun,
        leaf_index: 0,
        seals_offset: 0,
        kind: 'producer',
        number: 0,
        first_number: 0,
        ...noteColumn(one),
      },
      {
        ...base,
        leaf_index: 1,
        seals_offset: 1,
        kind: 'consumer',
        key_name: 'writer-1',
        first_number: 20,
        last_number: 29,
      },
      {
        leaf_index: 2,
        seals_offset: 3,
        kind: 'unread',
        key_name: '',
        topic: '',
        producer_id: null,
        ...noteColumn(odd),
      },
      { ...base, ...ofRun, leaf_index: 3, seals_offset: 7, kind: 'producer', number: 1, last_number: 19 },
      { leaf_index: 4, seals_offset: 9, kind: 'unread', ...noteColumn(far) },
    ])
    expect(rows[1]).toMatchObject({ log_id_hex: '0011223344556677', log_partition: 3, run_id_hex: null, number: null })
    expect(sink.kept.at(-1)?.root.toString('hex')).toBe(rootOf([one, stored, odd, two, far]))
  })

  it('is signed twice by the key, and stored before a sink has it', async () => {
    const topic = openSealTopic()
    topic.append(notes.slice(0, 3))
    const before = Math.floor(Date.now() / 1000)
    const sink = new MemorySink()
    await signUntil(topic, 3, { sinks: [sink] })
    const [kept] = sink.kept
    const verified = verifyCheckpoint(kept?.note ?? '', { log: [signer.key] })
    const origin = `agent-audit/${topic.logId.toString('hex')}`
    expect(verified).toMatchObject({ origin, size: 3, key: signer.key })
    expect(verified.root.toString('hex')).toBe(rootOf(notes.slice(0, 3)))
    expect(verified.seconds).toBeGreaterThanOrEqual(before)
    expect(await tablesOf(store, topic.logId).checkpoints(9)).toEqual([kept?.note])
  })

  it('gives proofs of inclusion and consistency from the tables', async () => {
    const topic = openSealTopic()
    topic.append(notes)
    await signUntil(topic, 40)
    const tables = tablesOf(store, topic.logId)
    const [tree, old] = [await readSealTree(tables), await readSealTree(tables, 17)]
    const [root, leaf] = [tree.root(), notes[29] ?? Buffer.alloc(0)]
    const proof = tree.inclusionProof(29)
    expect(verifyInclusion({ leafHash: leafHash(leaf), index: 29, size: 40, root, proof })).toBe(true)
    expect(old.root().toString('hex')).toBe(rootOf(notes.slice(0, 17)))
    const consistency = { from: 17, to: 40, oldRoot: old.root(), newRoot: root, proof: tree.consistencyProof(17) }
    expect(verifyConsistency(consistency)).toBe(true)
  })
})

describe('after a restart', () => {
  it('goes on from the tables, as another notary does: both sign one tree', async () => {
    const topic = openSealTopic()
    const sink = new MemorySink()
    topic.append(notes.slice(0, 7))
    await signUntil(topic, 7, { sinks: [sink] })
    topic.append(notes.slice(5, 12))
    const other = newSigner('notary-2')
    const second = await signUntil(topic, 12, { sinks: [sink], signer: other, otherKeys: [signer.key] })
    expect(second.stored.map(({ index }) => index)).toEqual([7, 8, 9, 10, 11])
    topic.append(notes.slice(12, 20))
    await signUntil(topic, 20, { sinks: [sink], otherKeys: [other.key] })
    const roots = sink.kept.map(({ size, root }) => [size, root.toString('hex')])
    expect(roots).toEqual(sink.kept.map(({ size }) => [size, rootOf(notes.slice(0, size))]))
    expect(new Set(sink.kept.map(({ note }) => note.split('— ')[1]?.split(' ')[0]))).toEqual(
      new Set(['notary-1', 'notary-2']),
    )
  })

  it('makes lost tables again from the topic, and only then signs', async () => {
    const topic = openSealTopic()
    const sink = new MemorySink()
    topic.append(notes.slice(0, 9))
    await signUntil(topic, 9, { sinks: [sink] })
    await forget(topic, 'audit_seals')
    await forget(topic, 'audit_checkpoints')
    topic.append(notes.slice(9, 11))
    const again = await signUntil(topic, 11, { sinks: [sink] })
    expect(again.signed.map(({ size }) => size)).toEqual([11])
    expect(again.signed[0]?.root.toString('hex')).toBe(rootOf(notes.slice(0, 11)))
  })

  it.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'a store that fails at write %i, before or after it, changes no leaf',
    async (at) => {
      const topic = openSealTopic()
      const sink = new MemorySink()
      await using analytics = connectAnalytics(store.dataDir.notary)
      let writes = 0
      const command: typeof analytics.command = async (...statement) => {
        const fails = writes++ === Math.floor(at / 2)
        const away = new AuditUnavailableError('STORE_UNAVAILABLE', 'away')
        if (fails && at % 2 === 0) throw away
        await analytics.command(...statement)
        if (fails) throw away
      }
      topic.append(notes.slice(0, 4))
      const running = run(topic, { sinks: [sink], analytics: { ...analytics, command } })
      await expect.poll(() => sink.size).toBe(4)
      topic.append(notes.slice(4, 9))
      await expect.poll(() => sink.size).toBe(9)
      await running.stop()
      expect(running.problems).toEqual(['STORE_UNAVAILABLE away'])
      expect((await readSealTree(tablesOf(store, topic.logId))).root().toString('hex')).toBe(rootOf(notes.slice(0, 9)))
      const count = await store.rows(`SELECT count() AS n FROM audit_seals WHERE ${ofLog(topic)}`)
      expect(count).toEqual([{ n: 9 }])
    },
  )
})

function ofLog(topic: SealTopic): string {
  return `seals_log_id = unhex('${topic.logId.toString('hex')}')`
}

async function asAdmin(statement: string): Promise<void> {
  const answer = await store.send(statement, store.dataDir.admin, { mutations_sync: '1' })
  if (answer !== '') throw new Error(answer)
}

/** Removes rows of a log, as an admin of the database can. */
async function forget(topic: SealTopic, table: string, condition = '1'): Promise<void> {
  await asAdmin(`ALTER TABLE ${table} DELETE WHERE ${ofLog(topic)} AND ${condition}`)
}

/** A log of 10 leaves, and a sink that knows it. */
async function signed(): Promise<{ topic: SealTopic; sink: MemorySink }> {
  const [topic, sink] = [openSealTopic(), new MemorySink()]
  topic.append(notes.slice(0, 10))
  await signUntil(topic, 10, { sinks: [sink] })
  return { topic, sink }
}

/** What it says. Nothing may be signed then. */
async function refusal(topic: SealTopic, sink: MemorySink): Promise<string> {
  const before = sink.kept.length
  topic.append(notes.slice(10, 12))
  const running = run(topic, { sinks: [sink] })
  const { code, message } = (await running.failure) as { code: string; message: string }
  expect([code, running.signed, sink.kept.length]).toEqual(['SEAL_LOG_CHANGED', [], before])
  return message
}

describe('it does not sign', () => {
  it('a note that was changed in the tables', async () => {
    const { topic, sink } = await signed()
    await forget(topic, 'audit_checkpoints')
    await asAdmin(`ALTER TABLE audit_seals UPDATE note = concat(note, ' ') WHERE ${ofLog(topic)} AND leaf_index = 4`)
    expect(await refusal(topic, sink)).toMatch(/^memory has a checkpoint of 10 leaves with another root/)
  })

  it('leaves that changed places', async () => {
    const { topic, sink } = await signed()
    const [two, three] = [await noteAt(topic, 2), await noteAt(topic, 3)]
    await asAdmin(
      `ALTER TABLE audit_seals UPDATE note = if(leaf_index = 2, base64Decode('${three}'), base64Decode('${two}'))
       WHERE ${ofLog(topic)} AND leaf_index IN (2, 3)`,
    )
    expect(await refusal(topic, sink)).toMatch(/another root/)
  })

  it('a leaf that is missing', async () => {
    const { topic, sink } = await signed()
    await forget(topic, 'audit_seals', 'leaf_index = 6')
    expect(await refusal(topic, sink)).toMatch(/leaf 6 is missing, and leaf 7 is there/)
  })

  it('a leaf that is there twice', async () => {
    const { topic, sink } = await signed()
    await asAdmin(
      `INSERT INTO audit_seals SELECT * REPLACE ('another' AS note) FROM audit_seals WHERE ${ofLog(topic)} AND leaf_index = 6`,
    )
    expect(await refusal(topic, sink)).toMatch(/leaf 6 is there with two notes/)
  })

  it('a log that was rolled back, tables and topic alike', async () => {
    const { topic, sink } = await signed()
    await forget(topic, 'audit_seals')
    await forget(topic, 'audit_checkpoints')
    const rolled = openSealTopic()
    const checkpoint = sink.kept.at(-1)
    if (checkpoint === undefined) throw new Error('no checkpoint')
    // The same log under its name, with fewer seals in it.
    rolled.append(notes.slice(0, 6))
    const running = run(rolled, { sinks: [sink], origin: checkpoint.origin })
    expect(await running.failure).toMatchObject({
      code: 'SEAL_LOG_CHANGED',
      message: expect.stringMatching(/^memory has a checkpoint of 10 leaves, and tables and topic have 6 leaves/),
    })
    expect(running.signed).toEqual([])
  })

  it('an empty log, where a sink knows of leaves', async () => {
    const { sink } = await signed()
    const running = run(openSealTopic(), { sinks: [sink], origin: sink.kept.at(-1)?.origin })
    expect(await running.failure).toMatchObject({
      code: 'SEAL_LOG_CHANGED',
      message: expect.stringContaining('0 leaves'),
    })
  })

  it('a checkpoint of a key that it does not know, or of another log', async () => {
    const { topic, sink } = await signed()
    const stranger = run(topic, { sinks: [sink], signer: newSigner('notary-9') })
    expect(await stranger.failure).toMatchObject({
      code: 'SIGNATURE_INVALID',
      message: expect.stringContaining('trust file'),
    })
    const renamed = run(topic, { sinks: [sink], origin: 'another/log' })
    expect(await renamed.failure).toMatchObject({
      code: 'SEAL_LOG_CHANGED',
      message: expect.stringContaining('expected checkpoints of the log another/log'),
    })
  })
})

async function noteAt(topic: SealTopic, index: number): Promise<string> {
  const [note] = await tablesOf(store, topic.logId).notes(index, index + 1)
  return note?.toString('base64') ?? ''
}

describe('a sink that is away', () => {
  it('gets the newest checkpoint when it is back, and holds up no other sink', async () => {
    const topic = openSealTopic()
    const [away, here] = [new MemorySink(), new MemorySink()]
    topic.append(notes.slice(0, 2))
    const running = run(topic, { sinks: [away, here] })
    await expect.poll(() => here.size).toBe(2)
    away.fault = new Error('cable cut')
    topic.append(notes.slice(2, 5))
    await expect.poll(() => here.size).toBe(5)
    topic.append(notes.slice(5, 8))
    await expect.poll(() => here.size).toBe(8)
    expect(away.size).toBe(2)
    away.fault = undefined
    await expect.poll(() => away.size).toBe(8)
    expect(running.sinks).toEqual(expect.arrayContaining(['waits memory: Error: cable cut', 'goes on memory']))
  })

  it('at the start is compared with when it is back', async () => {
    const topic = openSealTopic()
    const [away, here] = [new MemorySink(), new MemorySink()]
    topic.append(notes.slice(0, 6))
    await signUntil(topic, 6, { sinks: [away] })
    const forked = openSealTopic()
    forked.append([...notes.slice(0, 5), ...notes.slice(20, 24)])
    away.fault = new Error('cable cut')
    const running = run(forked, { sinks: [away, here], origin: away.kept.at(-1)?.origin })
    await expect.poll(() => here.size).toBe(9)
    away.fault = undefined
    expect(await running.failure).toMatchObject({
      code: 'SEAL_LOG_CHANGED',
      message: expect.stringContaining('another root'),
    })
    expect(away.size).toBe(6)
  })

  it('and is the only one: nothing is signed before it was compared with', async () => {
    const topic = openSealTopic()
    const sink = new MemorySink()
    sink.fault = new Error('cable cut')
    topic.append(notes.slice(0, 6))
    const running = run(topic, { sinks: [sink] })
    await expect.poll(() => running.problems).toContainEqual('SINK_UNAVAILABLE memory: cable cut')
    expect(running.signed).toEqual([])
    sink.fault = undefined
    await expect.poll(() => sink.size).toBe(6)
  })
})

it('a second notary is refused, and the first one goes on', async () => {
  const topic = openSealTopic()
  const sink = new MemorySink()
  topic.append(notes.slice(0, 2))
  run(topic, { sinks: [sink] })
  await expect.poll(() => sink.size).toBe(2)
  const second = run(topic, { standbyMs: 1500 })
  expect(await second.failure).toMatchObject({
    code: 'NOTARY_RUNNING',
    message: expect.stringContaining('another notary'),
  })
  topic.append(notes.slice(2, 4))
  await expect.poll(() => sink.size).toBe(4)
  expect(second.signed).toEqual([])
})
