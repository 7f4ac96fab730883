/** Spools that a crash, a disk or another program has damaged: no intact chunk is lost, no damaged one is delivered. */
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
import { IntegrityError } from '@agent-audit/schemas'
import { adoptSpools } from '@agent-audit/spool'
import type { AdoptedSpool, StoredChunk } from '@agent-audit/spool'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { adoptAll, ALL, chunkOf, leaveSpool, plain, runIdOf, runSql, spoolOf, startChild } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

function overwrite(file: string, position: number, bytes: Uint8Array): void {
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, bytes, 0, bytes.length, position)
  closeSync(descriptor)
}

it.each<[string, (file: string) => void]>([
  ['a torn head', (file) => overwrite(file, 0, new Uint8Array(100).fill(0xff))],
  [
    'text instead of a database',
    (file) => writeFileSync(file, 'not a database, but long enough to be one. '.repeat(100)),
  ],
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
  const busy = [{ file: spoolOf(directory), runId: runIdOf(1) }]
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [], busy })
  expect(readdirSync(directory)).toEqual(before)
  expect(readFileSync(`${spoolOf(directory)}-wal`)).toEqual(log)
})

// The owner stops once it has made its file, which is empty and not locked then; the adopter stops right after a call; the
// owner goes on until it has stored a chunk, then the adopter.
it.each([
  // Between its looks at the two files.
  ['does not take a new file for a damaged one when its owner begins between two looks', 'statSync', true],
  // It took the new file for a dead run's. Before it removes the log, the owner notices, and begins again.
  ['takes nothing of a run along whose first file it has just removed', 'rmSync', false],
])('%s', async (_name, stopAfter, firstFileStays) => {
  const directory = makeTempDirectory()
  const owner = startChild(['hold', directory, 1], 'AUDIT_TEST_STOP_AFTER=closeSync')
  await owner.printed(1)
  const file = spoolOf(directory)
  expect(statSync(file).size).toBe(0)
  const adopter = startChild(['adopt-many', directory, 0, 1], `AUDIT_TEST_STOP_AFTER=${stopAfter}`)
  await adopter.printed(1)
  await owner.kill('SIGCONT')
  await owner.printed(2)
  await adopter.kill('SIGCONT')
  expect(await adopter.exited()).toMatchObject({ code: 0 })
  expect(adopter.lines.slice(1)).toEqual([])
  expect(existsSync(file)).toBe(firstFileStays)
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
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [], busy: [] })
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
        // A mask of zero means: the file is cut off there.
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

/** The chunks that can be read before the first damaged one. */
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
  expect(skipped).toEqual([{ file, runId: runIdOf(1), reason: expect.stringContaining('later release') }])
  expect(existsSync(file)).toBe(true)
})
