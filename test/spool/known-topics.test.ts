import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { adoptSpools, lastPartitions, rememberPartitions } from '@agent-audit/spool'
import { expect, it } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'

it('remembers the last count of each topic, beside the spools', () => {
  const directory = join(makeTempDirectory(), 'new')
  expect(lastPartitions(directory, 'audit.events')).toBeUndefined()
  rememberPartitions(directory, 'audit.events', 12)
  rememberPartitions(directory, 'other', 3)
  rememberPartitions(directory, 'audit.events', 24)
  expect(lastPartitions(directory, 'audit.events')).toBe(24)
  expect(lastPartitions(directory, 'other')).toBe(3)
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [] })
})

it('treats a damaged file as never seen', () => {
  const directory = makeTempDirectory()
  rememberPartitions(directory, 'audit.events', 12)
  writeFileSync(join(directory, 'topic-audit.events.partitions'), '')
  expect(lastPartitions(directory, 'audit.events')).toBeUndefined()
})

it('refuses an invalid count or topic', () => {
  const directory = makeTempDirectory()
  const invalid = expect.objectContaining({ code: 'OPTIONS_INVALID' })
  for (const count of [0, -1, 1.5, Number.NaN]) {
    expect(() => rememberPartitions(directory, 'audit.events', count)).toThrow(invalid)
  }
  expect(() => rememberPartitions(directory, '../escape', 1)).toThrow(invalid)
  expect(() => lastPartitions(directory, '')).toThrow(invalid)
})
