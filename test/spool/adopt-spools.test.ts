import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { IntegrityError } from '@agent-audit/schemas'
import { adoptSpools, openRunSpool } from '@agent-audit/spool'
import type { AdoptedSpool, StoredChunk } from '@agent-audit/spool'
import * as fc from 'fast-check'
import { expect, it, vi } from 'vitest'
import { chunkOf, makeTempDirectory, placesOf, plain, runIdOf, startChild, unplaced } from './support.ts'

const ALL = 2 ** 40

/** Leaves the spool of a dead run with some chunks behind; returns its file. */
function leaveSpool(directory: string, number: number, chunks = 20): string {
  const spool = openRunSpool({ directory, runId: runIdOf(number), maxBytes: ALL, fsync: false })
  for (let index = 0; index < chunks; index++) spool.append(chunkOf(index * 20, 20))
  spool.close()
  return spool.file
}

/** Runs adopted, each with its number of chunks; they are closed again. */
function adoptAll(directory: string): { runs: Record<string, number>; damaged: number; skipped: number } {
  const { spools, damaged, skipped } = adoptSpools({ directory })
  const runs: Record<string, number> = {}
  for (const spool of spools) {
    runs[spool.runId] = spool.read(0, ALL).length
    spool.close()
  }
  return { runs, damaged: damaged.length, skipped: skipped.length }
}

it('finds every chunk that a killed process was told is committed', async () => {
  const directory = makeTempDirectory()
  const rounds = Array.from({ length: 6 }, async (_, round) => {
    const child = startChild(['append-forever', directory, round])
    await child.printed(10 + round * 37)
    await child.kill('SIGKILL')
    return child.lines.map(Number)
  })
  const acknowledged = await Promise.all(rounds)
  const { spools, damaged } = adoptSpools({ directory })
  expect(damaged).toEqual([])
  expect(spools.length).toBe(rounds.length)
  for (const spool of spools) {
    const chunks = spool.read(0, ALL)
    const told = acknowledged[Number.parseInt(spool.runId, 16)] ?? []
    // One more may be committed than the process lived to print.
    expect([told.length, told.length + 1]).toContain(chunks.length)
    for (const [index, { id, chunk }] of chunks.entries()) {
      expect(id).toBe(index + 1)
      expect(plain(chunk)).toEqual(plain(chunkOf(index * 20, 20)))
    }
    spool.trim(ALL)
    spool.close()
  }
  expect(readdirSync(directory)).toEqual([])
})

it('after a kill among trims, holds all that was not yet to be trimmed, without a hole', async () => {
  const directory = makeTempDirectory()
  const child = startChild(['append-and-trim', directory, 1])
  await child.printed(600)
  await child.kill('SIGKILL')
  const told = child.lines.map(Number)
  const lastAppended = Math.max(...told)
  const lastTrim = -Math.min(...told)
  const [spool] = adoptSpools({ directory }).spools
  const ids = spool?.read(0, ALL).map(({ id }) => id) ?? []
  expect(ids[0]).toBeLessThanOrEqual(lastTrim + 1)
  expect(ids.at(-1)).toBeGreaterThanOrEqual(lastAppended)
  expect(ids).toEqual(Array.from(ids, (_, index) => (ids[0] ?? 0) + index))
  spool?.close()
})

it('leaves a live owner alone, a stopped one too, and adopts its spool once it is dead', async () => {
  const directory = makeTempDirectory()
  const owner = startChild(['hold', directory, 1])
  await owner.printed(1)
  const nothing = { runs: {}, damaged: 0, skipped: 0 }
  expect(adoptAll(directory)).toEqual(nothing)
  await owner.kill('SIGSTOP')
  await vi.waitFor(() => expect(stateOf(owner.process.pid)).toBe('T'))
  expect(adoptAll(directory)).toEqual(nothing)
  await owner.kill('SIGKILL')
  expect(adoptAll(directory).runs).toEqual({ [runIdOf(1)]: 1 })
})

/** State letter of a process on Linux. */
function stateOf(pid: number | undefined): string | undefined {
  return / ([A-Z]) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, ''))?.[1]
}

it('leaves a live owner in the same process alone, on this thread and on another, and its lock stays', async () => {
  const directory = makeTempDirectory()
  const spool = openRunSpool({ directory, runId: runIdOf(1), maxBytes: ALL, fsync: false })
  spool.append(chunkOf(0, 1))
  expect(adoptAll(directory).runs).toEqual({})
  const code = `import { adoptSpools } from '@agent-audit/spool'
    import { parentPort, workerData } from 'node:worker_threads'
    parentPort.postMessage(adoptSpools({ directory: workerData }).spools.length)`
  const worker = new Worker(
    new URL(
      `data:text/javascript,${encodeURIComponent(code.replace('@agent-audit/spool', import.meta.resolve('@agent-audit/spool')))}`,
    ),
    {
      workerData: directory,
      execArgv: ['--conditions=agent-audit-source'],
    },
  )
  const adopted = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  expect(adopted).toBe(0)
  await worker.terminate()
  const other = startChild(['adopt-many', directory, 0, 1])
  expect(await other.exited()).toBe(0)
  expect(other.lines, 'after those attempts another process still finds it locked').toEqual([])
  spool.close()
})

it('adopts a spool once: whoever holds it keeps others out, and after closing it is there again', async () => {
  const directory = makeTempDirectory()
  leaveSpool(directory, 1)
  const [spool] = adoptSpools({ directory }).spools
  expect(adoptAll(directory).runs).toEqual({})
  const other = startChild(['adopt-many', directory, 0, 1])
  expect(await other.exited()).toBe(0)
  expect(other.lines).toEqual([])
  spool?.close()
  expect(adoptAll(directory).runs).toEqual({ [runIdOf(1)]: 20 })
})

it('goes on where the last adopter stopped', () => {
  const directory = makeTempDirectory()
  leaveSpool(directory, 1)
  const [first] = adoptSpools({ directory }).spools
  first?.trim(7)
  first?.close()
  const [second] = adoptSpools({ directory }).spools
  expect(second?.read(0, 1).map(({ id }) => id)).toEqual([8])
  expect(second?.stats()).toMatchObject({ chunks: 13, records: 260 })
  second?.close()
})

it('places records that no owner had a number of partitions for, each adopter by the same one', () => {
  const directory = makeTempDirectory()
  const spool = openRunSpool({ directory, runId: runIdOf(1), maxBytes: ALL, fsync: false })
  spool.append(unplaced(chunkOf(0, 20)))
  spool.close()
  for (const count of [4, 9]) {
    const [adopted] = adoptSpools({ directory }).spools
    adopted?.fixPartitions(count)
    expect(adopted?.read(0, ALL).map(({ chunk }) => [...chunk.partitions])).toEqual([placesOf(chunkOf(0, 20), 4)])
    adopted?.close()
  }
})

it('takes a file of version 1, which had no place for a number of partitions', () => {
  const directory = makeTempDirectory()
  const file = leaveSpool(directory, 1)
  runSql(file, 'ALTER TABLE run DROP COLUMN partitions; PRAGMA user_version = 1')
  const [spool] = adoptSpools({ directory }).spools
  expect(spool?.unplaced).toBe(false)
  expect(spool?.read(0, ALL).map(({ chunk }) => plain(chunk))).toEqual(
    Array.from({ length: 20 }, (_, index) => plain(chunkOf(index * 20, 20))),
  )
  spool?.close()
})

it('gives the oldest run first, leaves out the excepted one, and other files', () => {
  const directory = makeTempDirectory()
  const order = [5, 2, 9]
  const clock = vi.spyOn(Date, 'now')
  for (const [index, number] of order.entries()) {
    clock.mockReturnValue(1_000 * index)
    leaveSpool(directory, number, 1)
  }
  clock.mockRestore()
  writeFileSync(join(directory, 'notes.txt'), 'not a spool')
  const { spools } = adoptSpools({ directory, except: runIdOf(2) })
  expect(spools.map((spool) => spool.runId)).toEqual([runIdOf(5), runIdOf(9)])
  for (const spool of spools) spool.close()
})

it('removes what a process left that died before its first append', () => {
  const directory = makeTempDirectory()
  writeFileSync(join(directory, `run-${runIdOf(1)}.spool`), '')
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [] })
  expect(readdirSync(directory)).toEqual([])
  expect(adoptSpools({ directory: join(directory, 'missing') }).spools).toEqual([])
})

function overwrite(file: string, position: number, bytes: Uint8Array): void {
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, bytes, 0, bytes.length, position)
  closeSync(descriptor)
}

it.each<[string, (file: string) => void]>([
  ['a torn head', (file) => overwrite(file, 0, new Uint8Array(100).fill(0xff))],
  ['text in its place', (file) => writeFileSync(file, 'not a database, but long enough to be one. '.repeat(100))],
  ['a size that is no whole page', (file) => truncateSync(file, 100)],
  ['the rows of another run', (file) => copyFileSync(leaveSpool(join(file, '..', '..', 'other'), 99), file)],
  ['a database of another program', (file) => writeForeignDatabase(file)],
  ['a chunk missing in the middle', (file) => runSql(file, 'DELETE FROM chunk WHERE id = 5')],
  ['no table of chunks', (file) => runSql(file, 'DROP TABLE chunk')],
])('sets a file with %s aside, whole, and adopts the others', (_name, damage) => {
  const directory = join(makeTempDirectory(), 'spool')
  const file = leaveSpool(directory, 1)
  leaveSpool(directory, 2)
  damage(file)
  const bytes = readFileSync(file)
  const { spools, damaged } = adoptSpools({ directory })
  expect(spools.map((spool) => spool.runId)).toEqual([runIdOf(2)])
  expect(damaged).toEqual([
    { file: expect.stringContaining(`${file}.damaged-`), runId: runIdOf(1), reason: expect.stringContaining(file) },
  ])
  expect(existsSync(file)).toBe(false)
  expect(readFileSync(damaged[0]?.file ?? '').length).toBeGreaterThanOrEqual(bytes.length)
  for (const spool of spools) spool.close()
  expect(adoptAll(directory), 'and is not reported again').toEqual({
    runs: { [runIdOf(2)]: 20 },
    damaged: 0,
    skipped: 0,
  })
})

function writeForeignDatabase(file: string): void {
  writeFileSync(file, '')
  runSql(file, 'PRAGMA application_id = 7; CREATE TABLE chunk (id INTEGER PRIMARY KEY)')
}

function runSql(file: string, sql: string): void {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}

/** The one spool in a directory. */
function spoolOf(directory: string): string {
  const name = readdirSync(directory).find((entry) => entry.endsWith('.spool')) ?? ''
  return join(directory, name)
}

it('keeps the write-ahead log of a file that lost its head', async () => {
  const directory = makeTempDirectory()
  const child = startChild(['hold', directory, 1])
  await child.printed(1)
  await child.kill('SIGKILL')
  const file = spoolOf(directory)
  const log = readFileSync(`${file}-wal`)
  truncateSync(file, 0)
  const { damaged } = adoptSpools({ directory })
  expect(damaged.length).toBe(1)
  expect(readFileSync(`${damaged[0]?.file}-wal`)).toEqual(log)
})

it('leaves a file that lost its head alone while its owner lives', async () => {
  const directory = makeTempDirectory()
  const owner = startChild(['hold', directory, 1])
  await owner.printed(1)
  truncateSync(spoolOf(directory), 0)
  const before = readdirSync(directory)
  const log = readFileSync(`${spoolOf(directory)}-wal`)
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [] })
  expect(readdirSync(directory)).toEqual(before)
  expect(readFileSync(`${spoolOf(directory)}-wal`)).toEqual(log)
})

it('does not take a new file for a damaged one when its owner begins between two looks', async () => {
  const directory = makeTempDirectory()
  const owner = startChild(['hold', directory, 1], 'AUDIT_TEST_STOP_AFTER=closeSync')
  await owner.printed(1)
  const file = spoolOf(directory)
  expect(statSync(file).size).toBe(0)
  // The adopter stops between its looks at the two files; the owner goes on until it has stored a chunk.
  const adopter = startChild(['adopt-many', directory, 0, 1], 'AUDIT_TEST_STOP_AFTER=statSync')
  await adopter.printed(1)
  await owner.kill('SIGCONT')
  await owner.printed(2)
  await adopter.kill('SIGCONT')
  expect(await adopter.exited()).toBe(0)
  expect(adopter.lines.slice(1)).toEqual([])
  expect(existsSync(file)).toBe(true)
  await owner.kill('SIGKILL')
  expect(adoptAll(directory)).toEqual({ runs: { [runIdOf(1)]: 1 }, damaged: 0, skipped: 0 })
})

it('takes nothing of a run along whose first file it has just removed', async () => {
  const directory = makeTempDirectory()
  const owner = startChild(['hold', directory, 1], 'AUDIT_TEST_STOP_AFTER=closeSync')
  await owner.printed(1)
  // The new file is empty and not locked: the adopter takes it for a dead run's, removes it, and stops before its log.
  const adopter = startChild(['adopt-many', directory, 0, 1], 'AUDIT_TEST_STOP_AFTER=rmSync')
  await adopter.printed(1)
  // The owner notices, and begins anew.
  await owner.kill('SIGCONT')
  await owner.printed(2)
  await adopter.kill('SIGCONT')
  expect(await adopter.exited()).toBe(0)
  await owner.kill('SIGKILL')
  expect(adoptAll(directory)).toEqual({ runs: { [runIdOf(1)]: 1 }, damaged: 0, skipped: 0 })
})

it('delivers the chunks before a damaged one, then says so, and sets the file aside on request', () => {
  const directory = makeTempDirectory()
  const file = leaveSpool(directory, 1)
  const chunk = chunkOf(10 * 20, 20)
  const at = readFileSync(file).indexOf(chunk.bytes.subarray(0, 200))
  expect(at).toBeGreaterThan(0)
  overwrite(file, at, Uint8Array.of((chunk.bytes[0] ?? 0) ^ 1))
  const [spool] = adoptSpools({ directory }).spools
  const intact = spool?.read(0, ALL) ?? []
  expect(intact.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  spool?.trim(10)
  expect(() => spool?.read(10, ALL)).toThrow(expect.objectContaining({ code: 'SPOOL_CORRUPT', retryable: false }))
  const aside = spool?.setAside()
  expect(statSync(aside ?? '').isFile()).toBe(true)
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [] })
})

it('after a torn write or a changed byte anywhere, gives only right chunks, in order, or says that it is damaged', async () => {
  const source = makeTempDirectory()
  const child = startChild(['append-and-trim', source, 1])
  await child.printed(3000) // More than the write-ahead log holds: there is content in both files.
  await child.kill('SIGKILL')
  const name = basename(spoolOf(source))
  const files = { [name]: readFileSync(join(source, name)), [`${name}-wal`]: readFileSync(join(source, `${name}-wal`)) }
  const target = fc.constantFrom(...Object.keys(files))
  fc.assert(
    fc.property(
      target,
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.nat(255),
      (where, at, mask) => {
        const directory = makeTempDirectory()
        for (const [file, bytes] of Object.entries(files)) writeFileSync(join(directory, file), bytes)
        const position = Math.floor(at * (files[where]?.length ?? 0))
        const old = files[where]?.[position] ?? 0
        // A mask of zero stands for tearing the file off there.
        if (mask === 0) truncateSync(join(directory, where), position)
        else overwrite(join(directory, where), position, Uint8Array.of(old ^ mask))
        const { spools, damaged } = adoptSpools({ directory })
        const chunks = spools.flatMap(readIntact)
        expect(spools.length + damaged.length).toBeLessThanOrEqual(1)
        for (const [index, { id, chunk }] of chunks.entries()) {
          expect(id).toBe((chunks[0]?.id ?? 0) + index)
          expect(plain(chunk)).toEqual(plain(chunkOf((id - 1) * 20, 20)))
        }
        for (const spool of spools) spool.close()
      },
    ),
    { numRuns: 300 },
  )
})

/** What can be read up to the first damage. */
function readIntact(spool: AdoptedSpool): StoredChunk[] {
  const chunks: StoredChunk[] = []
  try {
    for (;;) {
      const more = spool.read(chunks.at(-1)?.id ?? 0, 20_000)
      if (more.length === 0) return chunks
      chunks.push(...more)
    }
  } catch (error) {
    if (error instanceof IntegrityError && error.code === 'SPOOL_CORRUPT') return chunks
    throw error
  }
}

it('leaves a file of a later release where it is', () => {
  const directory = makeTempDirectory()
  const file = leaveSpool(directory, 1)
  runSql(file, 'PRAGMA user_version = 1000')
  const { spools, damaged, skipped } = adoptSpools({ directory })
  expect([spools, damaged]).toEqual([[], []])
  expect(skipped).toEqual([{ file, reason: expect.stringContaining('later release') }])
  expect(existsSync(file)).toBe(true)
})

it('loses and repeats nothing when runs start, end and adopt at once', async () => {
  const directory = makeTempDirectory()
  const openers = [1000, 2000].map((number) => startChild(['open-many', directory, number, 100]))
  const adopters = [1, 2].map(() => startChild(['adopt-many', directory, 0, 400]))
  for (const child of [...openers, ...adopters]) expect(await child.exited()).toBe(0)
  const last = startChild(['adopt-many', directory, 0, 1])
  await last.exited()
  const opened = openers.flatMap((child) => child.lines)
  const drained = [...adopters, last].flatMap((child) => child.lines)
  expect(drained.toSorted()).toEqual(opened.toSorted())
  expect(readdirSync(directory)).toEqual([])
})
