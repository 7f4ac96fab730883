/** Numbers in a spool that no producer writes: the spool is set aside, and not left for every later run to stumble over. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { adoptSpools } from '@agent-audit/spool'
import { expect, it } from 'vitest'
import { leaveSpool, runIdOf, runSql } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

it.each([
  'UPDATE chunk SET id = 9007199254740991 WHERE id = (SELECT max(id) FROM chunk)',
  'UPDATE chunk SET id = 9007199254740992 WHERE id = (SELECT max(id) FROM chunk)',
  'UPDATE chunk SET id = 9223372036854775807 WHERE id = (SELECT max(id) FROM chunk)',
  'UPDATE chunk SET first_seq = 9007199254740991',
  'UPDATE run SET created_ms = 9223372036854775807',
])('a spool after "%s" is set aside, whole, and the others are adopted', (sql) => {
  const directory = join(makeTempDirectory(), 'spool')
  const file = leaveSpool(directory, 1)
  leaveSpool(directory, 2)
  runSql(file, sql)
  const bytes = readFileSync(file)
  const { spools, damaged } = adoptSpools({ directory })
  for (const spool of spools) spool.close()
  expect(spools.map(({ runId }) => runId)).toEqual([runIdOf(2)])
  expect(damaged).toEqual([
    { file: expect.stringContaining(`${file}.damaged-`), runId: runIdOf(1), reason: expect.stringContaining(file) },
  ])
  expect(readFileSync(damaged[0]?.file ?? '')).toEqual(bytes)
})
