import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { adoptSpools, lastKnownTopic, rememberTopic } from '@agent-audit/spool'
import { expect, it } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'

it('remembers the last cluster and number of partitions of each topic, beside the spools', () => {
  const directory = join(makeTempDirectory(), 'new')
  expect(lastKnownTopic(directory, 'audit.events')).toBeUndefined()
  rememberTopic(directory, 'audit.events', { cluster: 'one', partitions: 12 })
  rememberTopic(directory, 'other', { cluster: 'one', partitions: 3 })
  rememberTopic(directory, 'audit.events', { cluster: 'two', partitions: 24 })
  expect(lastKnownTopic(directory, 'audit.events')).toEqual({ cluster: 'two', partitions: 24 })
  expect(lastKnownTopic(directory, 'other')).toEqual({ cluster: 'one', partitions: 3 })
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [], busy: [] })
})

it.each(['', '{"partitions": 4}', '{"cluster": "one", "partitions": 0}'])('treats %j as never seen', (content) => {
  const directory = makeTempDirectory()
  rememberTopic(directory, 'audit.events', { cluster: 'one', partitions: 12 })
  writeFileSync(join(directory, 'topic-audit.events.json'), content)
  expect(lastKnownTopic(directory, 'audit.events')).toBeUndefined()
})

it('refuses an invalid count or topic', () => {
  const directory = makeTempDirectory()
  const invalid = expect.objectContaining({ code: 'OPTIONS_INVALID' })
  for (const partitions of [0, -1, 1.5, Number.NaN]) {
    expect(() => rememberTopic(directory, 'audit.events', { cluster: 'one', partitions })).toThrow(invalid)
  }
  expect(() => rememberTopic(directory, '../escape', { cluster: 'one', partitions: 1 })).toThrow(invalid)
  expect(() => lastKnownTopic(directory, '')).toThrow(invalid)
})
