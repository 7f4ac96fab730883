import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { adoptSpools, openRunSpool } from '@agent-audit/spool'
import type { AdoptedSpool, Chunk, RunSpool, StoredChunk } from '@agent-audit/spool'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { chunkOf, partitionsOf, plain, runIdOf, startChild, TOPIC, unassigned } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const ALL = 2 ** 40

interface Opening {
  number?: number
  maxBytes?: number
  fsync?: boolean
  again?: boolean
}

function openSpool(directory: string, options: Opening = {}): RunSpool {
  const { number = 1, maxBytes = ALL, fsync = false, again } = options
  return openRunSpool({ directory, runId: runIdOf(number), topic: TOPIC, maxBytes, fsync, again })
}

function plainAll(chunks: readonly StoredChunk[]): object[] {
  return chunks.map(({ id, chunk }) => ({ id, ...plain(chunk) }))
}

function partitionsIn(spool: AdoptedSpool): number[][] {
  return spool.read(0, ALL).map(({ chunk }) => [...chunk.partitions])
}

function sizeOf(chunk: Chunk): number {
  return chunk.bytes.length + 16 * chunk.ends.length
}

const anyRecord = fc.record({ key: fc.uint8Array({ maxLength: 40 }), body: fc.uint8Array({ maxLength: 400 }) })
const anyRecords = fc.array(fc.tuple(anyRecord, fc.integer({ min: 0, max: 2 ** 31 - 1 })), { minLength: 1 })

/** A chunk of arbitrary bytes, keys and partitions. */
function buildChunk(records: readonly [{ key: Uint8Array; body: Uint8Array }, number][], firstSeq: number): Chunk {
  const starts: number[] = []
  const ends: number[] = []
  let at = 0
  for (const [{ key, body }] of records) {
    starts.push(at)
    at += key.length + body.length
    ends.push(at)
  }
  return {
    bytes: Buffer.concat(records.flatMap(([{ key, body }]) => [key, body])),
    ends: Uint32Array.from(ends),
    keyStarts: Uint32Array.from(starts),
    keyLengths: Uint32Array.from(records, ([{ key }]) => key.length),
    partitions: Int32Array.from(records, ([, partition]) => partition),
    firstSeq,
  }
}

/** The content that a spool must hold: the chunks appended and not trimmed. */
function expectedRead(held: readonly StoredChunk[], afterId: number, maxBytes: number): StoredChunk[] {
  const found: StoredChunk[] = []
  let bytes = 0
  for (const stored of held.filter(({ id }) => id > afterId)) {
    bytes += sizeOf(stored.chunk)
    if (found.length > 0 && bytes > maxBytes) break
    found.push(stored)
  }
  return found
}

const anyStep = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('append' as const), records: anyRecords, gap: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('trim' as const), upTo: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('read' as const), after: fc.nat(20), maxBytes: fc.nat(20_000) }),
  },
)

it('gives back the chunks that were appended and not trimmed, byte for byte and in order, also to an adopter', () => {
  const directory = makeTempDirectory()
  let run = 0
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 20 }), (steps) => {
      const spool = openSpool(directory, { number: ++run })
      let held: StoredChunk[] = []
      let nextSeq = 0
      const found: StoredChunk[][] = []
      const expected: StoredChunk[][] = []
      for (const step of steps) {
        if (step.do === 'append') {
          const chunk = buildChunk(step.records, nextSeq + step.gap)
          nextSeq = chunk.firstSeq + chunk.ends.length
          held.push({ id: spool.append(chunk), chunk })
        } else if (step.do === 'trim') {
          spool.trim(step.upTo)
          held = held.filter(({ id }) => id > step.upTo)
        } else {
          found.push(spool.read(step.after, step.maxBytes))
          expected.push(expectedRead(held, step.after, step.maxBytes))
        }
        expect(spool.stats()).toMatchObject({
          chunks: held.length,
          records: held.reduce((sum, { chunk }) => sum + chunk.ends.length, 0),
          bytes: held.reduce((sum, { chunk }) => sum + sizeOf(chunk), 0),
        })
      }
      spool.close()
      expect(found.map(plainAll)).toEqual(expected.map(plainAll))
      const { spools } = adoptSpools({ directory })
      expect(spools.flatMap((adopted) => plainAll(adopted.read(0, ALL)))).toEqual(plainAll(held))
      for (const adopted of spools) {
        adopted.trim(ALL)
        adopted.close()
      }
    }),
    { numRuns: 60 },
  )
  expect(readdirSync(directory)).toEqual([])
})

it('refuses a chunk beyond the limit, keeps nothing of it, and takes it once there is room', () => {
  const first = chunkOf(0, 10)
  const second = chunkOf(10, 10)
  const spool = openSpool(makeTempDirectory(), { maxBytes: sizeOf(first) + sizeOf(second) - 1 })
  const id = spool.append(first)
  const before = spool.stats()
  expect(() => spool.append(second)).toThrow(expect.objectContaining({ code: 'SPOOL_FULL', retryable: true }))
  expect(spool.stats()).toEqual(before)
  expect(plainAll(spool.read(0, ALL))).toEqual(plainAll([{ id, chunk: first }]))
  spool.trim(id)
  expect(spool.append(second)).toBe(id + 1)
  expect(plainAll(spool.read(id, ALL))).toEqual(plainAll([{ id: id + 1, chunk: second }]))
  spool.close()
})

it('takes a chunk that fills the limit exactly', () => {
  const chunk = chunkOf(0, 10)
  const spool = openSpool(makeTempDirectory(), { maxBytes: sizeOf(chunk) })
  expect(spool.append(chunk)).toBe(1)
  spool.close()
})

it('refuses a run_seq that was used before', () => {
  const spool = openSpool(makeTempDirectory())
  spool.append(chunkOf(0, 10))
  expect(() => spool.append(chunkOf(9, 1))).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }))
  expect(() => spool.append(chunkOf(0, 10))).toThrow(/run_seq 0/)
  spool.trim(1)
  expect(() => spool.append(chunkOf(9, 1)), 'even after it was trimmed').toThrow(/run_seq 9/)
  expect(spool.append(chunkOf(10, 1))).toBe(2)
  spool.close()
})

it.each<[string, Partial<Chunk>]>([
  [
    'no records',
    {
      ends: new Uint32Array(),
      keyStarts: new Uint32Array(),
      keyLengths: new Uint32Array(),
      partitions: new Int32Array(),
    },
  ],
  ['tables of different lengths', { partitions: Int32Array.of(1) }],
  ['ends that fall', { ends: Uint32Array.of(20, 10) }],
  ['bytes after the last record', { ends: Uint32Array.of(10, 29) }],
  ['ends after the bytes', { ends: Uint32Array.of(10, 31) }],
  ['a key in another record', { keyStarts: Uint32Array.of(8, 10), keyLengths: Uint32Array.of(4, 4) }],
  ['a partition for some records only', { partitions: Int32Array.of(0, -1) }],
  ['a firstSeq that is no whole number', { firstSeq: 0.5 }],
])('refuses a chunk with %s', (_name, wrong) => {
  const good: Chunk = {
    bytes: new Uint8Array(30),
    ends: Uint32Array.of(10, 30),
    keyStarts: Uint32Array.of(0, 10),
    keyLengths: Uint32Array.of(4, 4),
    partitions: Int32Array.of(0, 1),
    firstSeq: 0,
  }
  const spool = openSpool(makeTempDirectory())
  expect(() => spool.append({ ...good, ...wrong })).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }))
  expect(spool.stats().chunks).toBe(0)
  expect(spool.append(good)).toBe(1)
  spool.close()
})

it('keeps records before the number of partitions is known, and assigns all of them by the first number that is set', () => {
  const directory = makeTempDirectory()
  const spool = openSpool(directory)
  const [early, late] = [chunkOf(0, 20), chunkOf(20, 20)]
  spool.append(unassigned(early))
  expect(spool.unbound).toBe(true)
  expect(() => spool.read(0, ALL)).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }))
  expect(() => spool.bind({ cluster: 'one', partitions: 0 })).toThrow(
    expect.objectContaining({ code: 'OPTIONS_INVALID' }),
  )
  spool.bind({ cluster: 'one', partitions: 5 })
  expect(spool.unbound).toBe(false)
  spool.append(late)
  spool.append(unassigned(chunkOf(40, 3)))
  expect(spool.unbound).toBe(false)
  const expected = [partitionsOf(early, 5), [...late.partitions], partitionsOf(chunkOf(40, 3), 5)]
  expect(partitionsIn(spool)).toEqual(expected)
  spool.close()
  // Some records may have been sent by now: another number would send the rest, and every resend, to other partitions.
  for (const adopted of adoptSpools({ directory }).spools) {
    expect(adopted.unbound).toBe(false)
    adopted.bind({ cluster: 'one', partitions: 7 })
    expect(partitionsIn(adopted)).toEqual(expected)
    adopted.close()
  }
  expect.assertions(8)
})

it('says the cluster that was last seen, until its run has reached one, and keeps that for every adopter', () => {
  const directory = makeTempDirectory()
  const known = { cluster: 'last seen', partitions: 4 }
  const [unreached, reached] = [1, 2].map((number) =>
    openRunSpool({ directory, runId: runIdOf(number), topic: TOPIC, maxBytes: ALL, fsync: false, known }),
  )
  for (const spool of [unreached, reached]) {
    expect(spool).toMatchObject({ unbound: true, cluster: 'last seen' })
    spool?.append(chunkOf(0, 20))
  }
  reached?.bind({ cluster: 'reached', partitions: 7 })
  unreached?.close()
  reached?.close()
  for (const adopted of adoptSpools({ directory }).spools) {
    const cluster = adopted.runId === runIdOf(1) ? 'last seen' : 'reached'
    expect(adopted).toMatchObject({ unbound: false, cluster })
    adopted.bind({ cluster: 'another', partitions: 9 })
    expect(adopted.cluster).toBe(cluster)
    adopted.close()
  }
  expect.assertions(6)
})

it('reports the age of the oldest chunk', () => {
  const spool = openSpool(makeTempDirectory())
  expect(spool.stats().oldestMs).toBeNull()
  const before = Date.now()
  spool.append(chunkOf(0, 1))
  const between = Date.now()
  spool.append(chunkOf(1, 1))
  const { oldestMs } = spool.stats()
  expect(oldestMs).toBeGreaterThanOrEqual(before)
  expect(oldestMs).toBeLessThanOrEqual(between)
  spool.close()
})

it('removes its file when it is empty, and keeps it when it is not', () => {
  const directory = makeTempDirectory()
  const empty = openSpool(directory, { number: 1 })
  empty.append(chunkOf(0, 1))
  empty.trim(1)
  empty.close()
  expect(readdirSync(directory)).toEqual([])
  const full = openSpool(directory, { number: 2, fsync: true })
  full.append(chunkOf(0, 1))
  full.close()
  full.close()
  expect(existsSync(full.file)).toBe(true)
  expect(() => full.append(chunkOf(1, 1))).toThrow(expect.objectContaining({ code: 'SPOOL_UNAVAILABLE' }))
})

it('gives the space of a drained backlog back to the disk', () => {
  const spool = openSpool(makeTempDirectory())
  for (let seq = 0; seq < 80; seq++) spool.append(chunkOf(seq, 1, 1024 * 1024))
  spool.trim(ALL)
  expect(statSync(spool.file).size).toBeLessThan(1024 * 1024)
  expect(spool.append(chunkOf(80, 1))).toBe(81)
  spool.close()
})

it('lets only its owner read the events', () => {
  const directory = join(makeTempDirectory(), 'new', 'spool')
  const spool = openSpool(directory)
  spool.append(chunkOf(0, 1))
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  const modes = readdirSync(directory).map((name) => statSync(join(directory, name)).mode & 0o777)
  expect(modes).toEqual([0o600, 0o600, 0o600])
  spool.close()
})

it('takes a further spool of a run whose delivery has failed: both files are adopted, and say which chunks they hold', () => {
  const directory = makeTempDirectory()
  const first = openSpool(directory)
  first.append(chunkOf(0, 20))
  first.append(chunkOf(40, 20))
  first.close()
  expect(() => openSpool(directory)).toThrow('a run_id is used once')
  const second = openSpool(directory, { again: true })
  second.append(chunkOf(60, 20))
  second.close()
  const { spools } = adoptSpools({ directory })
  expect(spools.map((spool) => spool.runId)).toEqual([runIdOf(1), runIdOf(1)])
  expect(spools.map((spool) => spool.firstSeqs()).toSorted((one, other) => other.length - one.length)).toEqual([
    [0, 40],
    [60],
  ])
  for (const spool of spools) spool.close()
})

it('refuses an invalid run_id or topic, a run_id that has a spool already, and a directory that is a file', () => {
  const directory = makeTempDirectory()
  const spool = openSpool(directory)
  const invalid = expect.objectContaining({ code: 'OPTIONS_INVALID' })
  expect(() => openSpool(directory)).toThrow(invalid)
  expect(() => openRunSpool({ directory, runId: '../x', topic: TOPIC, maxBytes: 1, fsync: false })).toThrow(invalid)
  expect(() => openRunSpool({ directory, runId: runIdOf(2), topic: 'a/b', maxBytes: 1, fsync: false })).toThrow(invalid)
  expect(() => openSpool(directory, { number: 2, maxBytes: 0 })).toThrow(invalid)
  expect(() => openSpool(spool.file, { number: 2 })).toThrow(expect.objectContaining({ code: 'SPOOL_UNAVAILABLE' }))
  spool.close()
})

// The shell's limit on the size of a file, in blocks of 512 bytes: about 2 MB.
const SMALL_DISK = 'ulimit -f 4000;'

it('throws when the disk refuses, and keeps every chunk that it has acknowledged before', async () => {
  const directory = makeTempDirectory()
  const child = startChild(['append-until-refused', directory, 1], SMALL_DISK)
  await expect.poll(() => child.lines.includes('OPTIONS_INVALID'), { timeout: 30_000 }).toBe(true)
  const refusedAt = child.lines.indexOf('SPOOL_UNAVAILABLE')
  expect(refusedAt).toBeGreaterThan(20)
  // Counted right; the same chunk may be tried again, but its run_seqs serve for no other.
  expect(child.lines.slice(refusedAt + 1)).toEqual([String(refusedAt), 'SPOOL_UNAVAILABLE', 'OPTIONS_INVALID'])
  await child.kill('SIGKILL')
  const { spools } = adoptSpools({ directory })
  const stored = spools.flatMap((spool) => spool.read(0, ALL))
  expect(plainAll(stored).slice(0, refusedAt)).toEqual(
    Array.from({ length: refusedAt }, (_, index) => ({ id: index + 1, ...plain(chunkOf(index * 20, 20)) })),
  )
  for (const spool of spools) spool.close()
})

it('gives a full disk its space back once everything was acknowledged', async () => {
  const directory = makeTempDirectory()
  const child = startChild(['append-until-refused', directory, 2], SMALL_DISK)
  await expect.poll(() => child.lines.at(-1), { timeout: 30_000 }).toBe('undefined')
  expect(child.lines.at(-2), 'trimming').toBe('SPOOL_UNAVAILABLE')
  expect(readdirSync(directory)).toEqual([])
})
