/** A spool's file that is removed, renamed or replaced while it is in use, as cleaners of temporary directories do. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { adoptSpools, inspectSpools, openRunSpool } from '@agent-audit/spool'
import type { RunSpool } from '@agent-audit/spool'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { ALL, chunkOf, plain, runIdOf, TOPIC } from './support.ts'

const UNAVAILABLE: unknown = expect.objectContaining({ code: 'SPOOL_UNAVAILABLE' })

function openSpool(directory = join(makeTempDirectory(), 'spool')): RunSpool {
  const spool = openRunSpool({ directory, runId: runIdOf(1), topic: TOPIC, maxBytes: ALL, fsync: false })
  onTestFinished(() => spool.close())
  return spool
}

/** What the next owner finds in the directory. */
function adoptedFrom(directory: string): object[] {
  const { spools, damaged, skipped } = adoptSpools({ directory })
  const chunks = spools.flatMap((spool) => spool.read(0, ALL).map(({ id, chunk }) => ({ id, ...plain(chunk) })))
  for (const spool of spools) spool.close()
  return [...chunks, ...damaged, ...skipped]
}

const ways: [string, (spool: RunSpool) => void][] = [
  ['its directory is removed', ({ file }) => rmSync(dirname(file), { recursive: true })],
  ['its directory is renamed', ({ file }) => renameSync(dirname(file), `${dirname(file)}-${basename(file)}`)],
  ['its file is removed', ({ file }) => rmSync(file)],
  ['its file is renamed', ({ file }) => renameSync(file, `${file}.old`)],
  [
    'another file has taken its name',
    ({ file }) => {
      writeFileSync(`${file}.copy`, 'another')
      renameSync(`${file}.copy`, file)
    },
  ],
  ['its write-ahead log is removed', ({ file }) => rmSync(`${file}-wal`)],
]

describe.each(ways)('when %s', (way, change) => {
  it('a spool stores nothing more there, and moves with all its chunks to a new file', () => {
    const spool = openSpool()
    const { file } = spool
    for (let index = 0; index < 3; index++) spool.append(chunkOf(index * 20, 20))
    spool.trim(1)
    expect(spool.inPlace).toBe(true)
    change(spool)
    expect(spool.inPlace).toBe(false)
    expect(() => spool.append(chunkOf(60, 20))).toThrow(UNAVAILABLE)
    // The very same chunk, as after every refusal of the disk.
    expect(spool.append(chunkOf(60, 20))).toBe(4)
    expect(spool.inPlace).toBe(true)
    expect(spool.file).not.toBe(file)
    expect(dirname(spool.file)).toBe(dirname(file))
    expect(inspectSpools(dirname(file)).filter(({ state }) => state === 'live')).toMatchObject([{ file: spool.file }])
    expect(spool.stats()).toMatchObject({ chunks: 3, records: 60 })
    spool.trim(2)
    spool.close()
    if (way === 'another file has taken its name') rmSync(file)
    const left = [3, 4].map((id) => ({ id, ...plain(chunkOf((id - 1) * 20, 20)) }))
    expect(adoptedFrom(dirname(file))).toEqual(left)
  })

  it('a spool that is closed, or adopted, leaves its chunks in a new file', () => {
    const spool = openSpool()
    spool.append(chunkOf(0, 20))
    const directory = dirname(spool.file)
    change(spool)
    const replaced = existsSync(spool.file) ? spool.file : ''
    spool.close()
    if (replaced !== '') rmSync(replaced, { force: true })
    const [adopted] = adoptSpools({ directory }).spools
    if (adopted === undefined) throw new Error('no spool is left')
    // The adopter works on a file too that may lose its name.
    change(adopted as RunSpool)
    expect(adopted.inPlace).toBe(false)
    adopted.move()
    expect(adopted.inPlace).toBe(true)
    expect(adopted.read(0, ALL).map(({ chunk }) => plain(chunk))).toEqual([plain(chunkOf(0, 20))])
    adopted.trim(1)
    adopted.close()
    expect(readdirSync(directory).filter((name) => name === adopted.file)).toEqual([])
  })
})

it('a spool whose new file cannot be made stays readable, and moves once it can', () => {
  const spool = openSpool()
  const directory = dirname(spool.file)
  spool.append(chunkOf(0, 20))
  rmSync(directory, { recursive: true })
  writeFileSync(directory, '')
  expect(() => spool.append(chunkOf(20, 20))).toThrow(UNAVAILABLE)
  expect(() => spool.append(chunkOf(20, 20))).toThrow(UNAVAILABLE)
  expect(() => spool.move()).toThrow(UNAVAILABLE)
  expect(spool.read(0, ALL)).toHaveLength(1)
  rmSync(directory)
  expect(spool.append(chunkOf(20, 20))).toBe(2)
  expect(spool.read(0, ALL)).toHaveLength(2)
})

it('an emptied spool does not remove the file that has taken its name', () => {
  const spool = openSpool()
  const { file } = spool
  rmSync(dirname(file), { recursive: true })
  mkdirSync(dirname(file))
  writeFileSync(file, 'another')
  spool.close()
  expect(existsSync(file)).toBe(true)
})
