import { DatabaseSync } from 'node:sqlite'
import { embeddedLogFile, openEmbeddedLog, openEmbeddedLogReader } from '@agent-audit/spool'
import { expect, it } from 'vitest'
import { startChild } from './support.ts'
import type { Child } from '../support/printing-program.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const ALL = 2 ** 40

/** The records that the acknowledged appends must have left: offset -> value. */
function acknowledged(children: readonly Child[]): Map<number, string> {
  const expected = new Map<number, string>()
  for (const [number, child] of children.entries()) {
    for (const line of child.lines) {
      const [baseOffset = 0, index = 0] = line.split(' ').map(Number)
      for (let at = 0; at < 1 + (index % 5); at++) {
        expect(expected.has(baseOffset + at), `offset ${baseOffset + at} was given twice`).toBe(false)
        expected.set(baseOffset + at, `${number}:${index}`)
      }
    }
  }
  return expected
}

it('gives several processes that append at once offsets without gap or repeat, and times that never fall', async () => {
  const directory = makeTempDirectory()
  const children = [0, 1, 2].map((number) => startChild(['log-append', directory, number, 300]))
  for (const child of children) expect(await child.exited()).toMatchObject({ code: 0 })
  const expected = acknowledged(children)
  const log = openEmbeddedLog({ directory })
  const found = log.read('events', 0, 0, ALL)
  expect(expected.size).toBe(3 * 900)
  expect(found.map(({ offset }) => offset)).toEqual(Array.from({ length: 2700 }, (_, offset) => offset))
  expect(found.map(({ value }) => String(Buffer.from(value ?? [])))).toEqual(
    found.map(({ offset }) => expected.get(offset)),
  )
  expect(found.every(({ appendTimeMs }, index) => appendTimeMs >= (found[index - 1]?.appendTimeMs ?? 0))).toBe(true)
  log.close()
})

it('loses nothing acknowledged to processes that are killed, and stays readable beside them', async () => {
  const directory = makeTempDirectory()
  const children = [0, 1, 2].map((number) => startChild(['log-append', directory, number, 1e9]))
  for (const [number, child] of children.entries()) await child.printed(50 + 60 * number)
  const log = openEmbeddedLog({ directory })
  const beside = log.read('events', 0, 0, ALL).length
  expect(beside).toBeGreaterThan(0)
  await Promise.all(children.map((child) => child.kill('SIGKILL')))
  const found = log.read('events', 0, 0, ALL)
  expect(found.length).toBe(log.bounds('events', 0).end)
  for (const [offset, value] of acknowledged(children)) {
    expect(String(Buffer.from(found[offset]?.value ?? [])), `offset ${offset}`).toBe(value)
  }
  expect(log.append('events', 0, [{ key: null, value: null }]).baseOffset).toBe(found.length)
  log.close()
})

it('can be opened for reading only after its last writer was killed', async () => {
  const directory = makeTempDirectory()
  const child = startChild(['log-append', directory, 0, 1e9])
  await child.printed(20)
  await child.kill('SIGKILL')
  const reader = openEmbeddedLogReader({ directory })
  const offsets = reader.read('events', 0, 0, ALL).map(({ offset }) => offset)
  expect(offsets).toEqual(Array.from(offsets, (_, index) => index))
  expect(offsets.length).toBeGreaterThanOrEqual(acknowledged([child]).size)
  reader.close()
})

it('is made once, though two processes open a new directory at the same moment', async () => {
  const directory = makeTempDirectory()
  const children = [0, 1].map((number) => startChild(['open-logs-together', directory, number, 100]))
  for (const child of children) expect(await child.exited()).toMatchObject({ code: 0 })
  expect(new Set(children[0]?.lines).size).toBe(100)
  expect(children[1]?.lines).toEqual(children[0]?.lines)
})

it('says that it is unavailable when another process holds it too long, and goes on afterwards', () => {
  const directory = makeTempDirectory()
  const log = openEmbeddedLog({ directory, busyTimeoutMs: 20 })
  log.createTopic('events', 1)
  const other = new DatabaseSync(embeddedLogFile(directory))
  other.exec('BEGIN IMMEDIATE')
  const append = (): number => log.append('events', 0, [{ key: null, value: null }]).baseOffset
  expect(append).toThrow(expect.objectContaining({ code: 'LOG_UNAVAILABLE', retryable: true }))
  expect(log.read('events', 0, 0, ALL), 'reading goes on').toEqual([])
  other.exec('ROLLBACK')
  expect(append()).toBe(0)
  other.close()
  log.close()
})
