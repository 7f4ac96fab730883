import { closeSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { embeddedLogFile, openEmbeddedLog, openEmbeddedLogReader } from '@agent-audit/spool'
import type { EmbeddedLog, LogAppend } from '@agent-audit/spool'
import * as fc from 'fast-check'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'

const ALL = 2 ** 40
const invalid = expect.objectContaining({ code: 'OPTIONS_INVALID' })

let directory: string
let log: EmbeddedLog
beforeEach(() => {
  directory = makeTempDirectory()
  log = openEmbeddedLog({ directory })
  log.createTopic('events', 2)
})
afterEach(() => {
  vi.restoreAllMocks()
  log.close()
})

/** Opens the log once more, as another process would. */
function openAgain(): EmbeddedLog {
  const other = openEmbeddedLog({ directory })
  onTestFinished(() => other.close())
  return other
}

function recordsOf(...values: string[]): LogAppend[] {
  return values.map((value) => ({ key: null, value: Buffer.from(value) }))
}

function readValues(partition: number, from = 0, maxBytes = ALL): string[] {
  return log.read('events', partition, from, maxBytes).map(({ value }) => Buffer.from(value ?? []).toString())
}

/** Sets the wall clock of this process. */
function setClock(nowMs: number): void {
  vi.spyOn(Date, 'now').mockReturnValue(nowMs)
}

const anyPart = fc.option(fc.uint8Array({ maxLength: 50 }))
const anyBatch = fc.array(fc.record({ key: anyPart, value: anyPart }), { minLength: 1, maxLength: 8 })

it('gives back keys, values, nulls and empties as they were appended, from any offset, within any limit', () => {
  let topic = 0
  fc.assert(
    fc.property(fc.array(anyBatch, { maxLength: 8 }), fc.nat(70), fc.nat(400), (batches, from, maxBytes) => {
      const name = `topic-${++topic}`
      log.createTopic(name, 1)
      const all: LogAppend[] = []
      for (const batch of batches) {
        expect(log.append(name, 0, batch).baseOffset).toBe(all.length)
        all.push(...batch)
      }
      expect(log.bounds(name, 0)).toEqual({ start: 0, end: all.length })
      if (from > all.length) return
      const found = log.read(name, 0, from, maxBytes)
      let bytes = 0
      const expected = all
        .map((record, offset) => ({ ...record, offset }))
        .slice(from)
        .filter(({ key, value }, index) => {
          bytes += (key?.length ?? 0) + (value?.length ?? 0)
          return index === 0 || bytes <= maxBytes
        })
      expect(found.map(({ key, value, offset }) => ({ key: list(key), value: list(value), offset }))).toEqual(
        expected.map(({ key, value, offset }) => ({ key: list(key), value: list(value), offset })),
      )
    }),
  )
})

function list(part: Uint8Array | null): number[] | null {
  return part && [...part]
}

it('keeps a tombstone and an empty value apart', () => {
  const empty = new Uint8Array()
  log.append('events', 0, [
    { key: null, value: null },
    { key: empty, value: empty },
    { key: Buffer.from('k'), value: null },
  ])
  const found = log.read('events', 0, 0, ALL)
  expect(found.map(({ key, value }) => [key?.length ?? null, value?.length ?? null])).toEqual([
    [null, null],
    [0, 0],
    [1, null],
  ])
})

it('keeps partitions and topics apart', () => {
  log.createTopic('other', 1)
  log.append('events', 0, recordsOf('a', 'b'))
  log.append('events', 1, recordsOf('c'))
  log.append('other', 0, recordsOf('d'))
  log.append('events', 0, recordsOf('e'))
  expect(readValues(0)).toEqual(['a', 'b', 'e'])
  expect(readValues(1)).toEqual(['c'])
  expect(log.topics()).toEqual(['events', 'other'])
})

it('reads at least one record, however large, and one of many mebibytes amid small ones', () => {
  const large = 'x'.repeat(3_000_000)
  log.append('events', 0, recordsOf('a', large, 'b', ...Array.from({ length: 3000 }, () => 'y'.repeat(1000))))
  expect(readValues(0, 0, 1)).toEqual(['a'])
  expect(readValues(0, 1, 1)).toEqual([large])
  expect(readValues(0, 0).length).toBe(3003)
  expect(readValues(0, 2, 1 + 1000 * 1500).length).toBe(1501)
  expect(readValues(0, 3003)).toEqual([])
})

it('is made once: every later open finds the same id, topics and offsets', () => {
  log.append('events', 0, recordsOf('a'))
  log.close()
  const again = openAgain()
  expect(again.id).toBe(log.id)
  expect(again.id).toMatch(/^[0-9a-f-]{36}$/)
  expect(again.append('events', 0, recordsOf('b')).baseOffset).toBe(1)
  expect(statSync(embeddedLogFile(directory)).mode & 0o777).toBe(0o600)
})

it('makes a topic once, and refuses another number of partitions, naming both', () => {
  log.createTopic('events', 2)
  expect(log.partitions('events')).toBe(2)
  expect(() => log.createTopic('events', 3)).toThrow(/has 2 partitions, not 3/)
  expect(log.partitions('none')).toBeUndefined()
})

it('refuses topics and partitions that do not exist, and invalid numbers', () => {
  expect(() => log.append('events', 2, recordsOf('a'))).toThrow(/no partition 2 of topic events \(it has 2\)/)
  expect(() => log.append('none', 0, recordsOf('a'))).toThrow(invalid)
  expect(() => log.append('events', 0, [])).toThrow(invalid)
  expect(() => log.bounds('none', 0)).toThrow(invalid)
  expect(() => log.read('events', 0, -1, 1)).toThrow(invalid)
  expect(() => log.createTopic('zero', 0)).toThrow(invalid)
  expect(() => log.commit('g', 1, 'events', 0, 1.5, '')).toThrow(invalid)
})

it('never lets the append time of a partition fall, though the clock does', () => {
  setClock(5000)
  expect(log.append('events', 0, recordsOf('a', 'b')).appendTimeMs).toBe(5000)
  setClock(3000)
  expect(log.append('events', 0, recordsOf('c')).appendTimeMs).toBe(5000)
  expect(openAgain().append('events', 0, recordsOf('d')).appendTimeMs).toBe(5000)
  setClock(6000)
  expect(log.append('events', 0, recordsOf('e')).appendTimeMs).toBe(6000)
  expect(log.read('events', 0, 0, ALL).map(({ appendTimeMs }) => appendTimeMs)).toEqual([5000, 5000, 5000, 5000, 6000])
})

it('throws LOG_TRUNCATED when an offset was deleted or was never written', () => {
  log.append('events', 0, recordsOf('a', 'b', 'c'))
  log.append('events', 0, recordsOf('d'))
  const truncated = expect.objectContaining({ code: 'LOG_TRUNCATED', retryable: false })
  expect(() => log.read('events', 0, 5, ALL)).toThrow(truncated)
  log.deleteBefore('events', 0, 2)
  log.deleteBefore('events', 0, 1)
  expect(log.bounds('events', 0)).toEqual({ start: 2, end: 4 })
  expect(() => log.read('events', 0, 1, ALL)).toThrow(truncated)
  expect(readValues(0, 2)).toEqual(['c', 'd'])
  expect(() => log.deleteBefore('events', 0, 5)).toThrow(invalid)
})

it('deletes much in steps, of which none leaves a record to read, and gives the space back', () => {
  const record = { key: null, value: new Uint8Array(2 ** 20) }
  for (let index = 0; index < 80; index++) log.append('events', 0, [record])
  log.append('events', 1, [record])
  expect(log.giveSpaceBack()).toBe(true)
  expect(log.deleteBefore('events', 0, 79)).toBe(false)
  expect(() => log.read('events', 0, 40, ALL)).toThrow(expect.objectContaining({ code: 'LOG_TRUNCATED' }))
  while (!log.deleteBefore('events', 0, 79));
  while (!log.giveSpaceBack());
  expect(log.read('events', 0, 79, ALL)).toHaveLength(1)
  expect(log.read('events', 1, 0, ALL)).toHaveLength(1)
  const file = log.file
  log.close()
  expect(statSync(file).size).toBeLessThan(70 * 2 ** 20)
})

it('keeps the end of a partition of which everything was deleted', () => {
  log.append('events', 0, recordsOf('a', 'b'))
  log.deleteBefore('events', 0, 2)
  expect(log.bounds('events', 0)).toEqual({ start: 2, end: 2 })
  expect(log.append('events', 0, recordsOf('c')).baseOffset).toBe(2)
  expect(readValues(0, 2)).toEqual(['c'])
})

it('reports every write since the last call, its own included', () => {
  const other = openAgain()
  expect(log.changed()).toBe(true)
  expect(log.changed()).toBe(false)
  other.append('events', 0, recordsOf('a'))
  expect(log.changed()).toBe(true)
  expect(log.changed()).toBe(false)
  log.append('events', 0, recordsOf('b'))
  expect(log.changed()).toBe(true)
  readValues(0)
  expect(log.changed()).toBe(false)
})

it('lets one member in at a time, and the next once it has left', () => {
  const other = openAgain()
  expect(log.join('g', 'm1', 10_000)).toBe(1)
  expect(other.join('g', 'm2', 10_000)).toBeUndefined()
  expect(other.join('another group', 'm2', 10_000)).toBe(1)
  log.leave('g', 1)
  expect(other.join('g', 'm2', 10_000)).toBe(2)
  log.leave('g', 1)
  expect(other.heartbeat('g', 2), 'the leave of a fenced member does nothing').toBe(true)
})

it('keeps a member that sends heartbeats, and replaces one that has stopped', () => {
  setClock(100_000)
  expect(log.join('g', 'm1', 10_000)).toBe(1)
  setClock(109_000)
  expect(log.heartbeat('g', 1)).toBe(true)
  setClock(118_999)
  expect(log.join('g', 'm2', 10_000)).toBeUndefined()
  setClock(119_000)
  expect(log.join('g', 'm2', 10_000)).toBe(2)
})

it('replaces a dead member though the clock was set back', () => {
  setClock(100_000_000)
  log.join('g', 'm1', 10_000)
  setClock(50_000_000)
  expect(log.join('g', 'm2', 10_000)).toBe(2)
})

it('refuses everything from a member that was paused and replaced', () => {
  const other = openAgain()
  setClock(0)
  expect(log.join('g', 'm1', 10_000)).toBe(1)
  expect(log.commit('g', 1, 'events', 0, 5, 'busy 1')).toBe(true)
  setClock(10_000)
  expect(other.join('g', 'm2', 10_000)).toBe(2)
  expect(log.commit('g', 1, 'events', 0, 9, 'late')).toBe(false)
  expect(log.heartbeat('g', 1)).toBe(false)
  expect(other.committed('g', 'events', 0)).toEqual({ offset: 5, metadata: 'busy 1' })
  expect(other.commit('g', 2, 'events', 0, 6, 'clean')).toBe(true)
  expect(log.committed('g', 'events', 0)).toEqual({ offset: 6, metadata: 'clean' })
  expect(log.committed('g', 'events', 1)).toBeUndefined()
})

it('refuses commits after leaving, and before joining', () => {
  expect(log.commit('g', 0, 'events', 0, 1, '')).toBe(false)
  expect(log.heartbeat('g', 0)).toBe(false)
  log.join('g', 'm1', 10_000)
  log.leave('g', 1)
  expect(log.commit('g', 1, 'events', 0, 1, '')).toBe(false)
  expect(log.heartbeat('g', 1)).toBe(false)
  expect(log.committed('g', 'events', 0)).toBeUndefined()
})

it('fences its own earlier epoch when a member joins again', () => {
  expect(log.join('g', 'm1', 10_000)).toBe(1)
  expect(log.join('g', 'm1', 10_000)).toBe(2)
  expect(log.commit('g', 1, 'events', 0, 1, '')).toBe(false)
})

it('opens for reading only beside a writer, and writes nothing', () => {
  log.append('events', 0, recordsOf('a'))
  const reader = openEmbeddedLogReader({ directory })
  onTestFinished(() => reader.close())
  expect(reader.id).toBe(log.id)
  log.append('events', 0, recordsOf('b'))
  expect(reader.read('events', 0, 0, ALL).length).toBe(2)
  expect(() => Reflect.get(reader, 'append').call(reader, 'events', 0, recordsOf('c'))).toThrow(
    expect.objectContaining({ code: 'LOG_UNAVAILABLE' }),
  )
  expect(readValues(0)).toEqual(['a', 'b'])
})

it('opens for reading only after the last writer has closed, and throws when there is no log', () => {
  log.append('events', 0, recordsOf('a'))
  log.close()
  const reader = openEmbeddedLogReader({ directory })
  expect(reader.bounds('events', 0)).toEqual({ start: 0, end: 1 })
  reader.close()
  const elsewhere = makeTempDirectory()
  expect(() => openEmbeddedLogReader({ directory: elsewhere })).toThrow(/there is no embedded log at/)
})

it('refuses a file that is not an embedded log, and says when its content was changed', () => {
  const elsewhere = makeTempDirectory()
  writeFileSync(embeddedLogFile(elsewhere), 'something else'.repeat(100))
  const corrupt = expect.objectContaining({ code: 'LOG_INVALID', retryable: false })
  expect(() => openEmbeddedLog({ directory: elsewhere })).toThrow(corrupt)
  log.append('events', 0, recordsOf('needle in the log'))
  log.append('events', 0, recordsOf('another one'))
  log.close()
  const file = embeddedLogFile(directory)
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, 'N', readFileSync(file).indexOf('needle in the log'))
  closeSync(descriptor)
  const again = openAgain()
  expect(() => again.read('events', 0, 0, ALL)).toThrow(corrupt)
  expect(again.read('events', 0, 1, ALL).length).toBe(1)
})

it('throws that it is closed, and closes twice', () => {
  log.close()
  log.close()
  expect(() => log.append('events', 0, recordsOf('a'))).toThrow(/is closed/)
})
