/** The mark of a new embedded log: it says that no consumer can have an insert under way, so only a new topic gets it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeEmbeddedTopic } from '@agent-audit/consumer'
import { type EmbeddedLog, openEmbeddedLog } from '@agent-audit/spool'
import { expect, it, onTestFinished } from 'vitest'

const PLACE = { topic: 'audit.events', groupId: 'audit-writer' }

function openLog(): { readonly directory: string; readonly log: EmbeddedLog } {
  const directory = mkdtempSync(join(tmpdir(), 'fresh-log-'))
  const log = openEmbeddedLog({ directory })
  onTestFinished(() => {
    log.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return { directory, log }
}

function committed(log: EmbeddedLog): unknown[] {
  return [0, 1].map((partition) => log.committed(PLACE.groupId, PLACE.topic, partition))
}

it('marks the partitions of the topic that it makes clean', () => {
  const { directory, log } = openLog()
  expect(makeEmbeddedTopic(directory, PLACE, 2)).toBe(log.id)
  expect(committed(log)).toMatchObject([{ metadata: 'clean' }, { metadata: 'clean' }])
})

it('leaves the mark of a consumer that has written since', () => {
  const { directory, log } = openLog()
  makeEmbeddedTopic(directory, PLACE, 2)
  const epoch = log.join(PLACE.groupId, 'consumer', 10_000) ?? 0
  log.commit(PLACE.groupId, epoch, PLACE.topic, 0, 0, 'busy 17')
  log.leave(PLACE.groupId, epoch)
  expect(makeEmbeddedTopic(directory, PLACE, 2)).toBe(log.id)
  expect(committed(log)).toMatchObject([{ metadata: 'busy 17' }, { metadata: 'clean' }])
})

it('does not mark a topic that exists without a commit: a consumer may have read it', () => {
  const { directory, log } = openLog()
  log.createTopic(PLACE.topic, 2)
  expect(makeEmbeddedTopic(directory, PLACE, 2)).toBe(log.id)
  expect(committed(log)).toEqual([undefined, undefined])
})
