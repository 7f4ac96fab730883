import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  lines,
  NO_CLICKHOUSE,
  openSharedDirectory,
  recordedSession,
  start,
  summaryOf,
  writeRecording,
} from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const good = recordedSession('S1')
/** Events of one such session, and the two events of the run. */
const EVENTS = 11
const OF_THE_RUN = 2

it.each([
  ['missing.jsonl', undefined, 'no such file'],
  ['plain.jsonl.gz', lines(good), 'not gzip, though its name ends in .gz'],
])('%s: one line, and nothing is started', async (name, text, message) => {
  const file = text === undefined ? join(makeTempDirectory(), name) : writeRecording(name, text)
  const dataDir = join(makeTempDirectory(), 'data')
  const run = await start(['--data-dir', dataDir, '--replay', file])
  expect(run).toMatchObject({ exitCode: 64, stdout: '', stderr: `npm start: ${file}: ${message}\n` })
  expect(existsSync(dataDir)).toBe(false)
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`a file that cannot be read to its end ${NO_CLICKHOUSE ?? ''}`, () => {
  let dataDir: string

  beforeAll(async () => {
    dataDir = await openSharedDirectory()
  })

  it.each([
    ['empty', '', 1, 'expected a recorded session, the file is empty', 0],
    ['no JSON', lines(good, 'hello'), 2, 'not JSON', 1],
    ['cut short', lines(good, recordedSession('S2')).slice(0, -20), 2, 'not JSON (character ', 1],
    [
      'no UTF-8',
      Buffer.concat([Buffer.from(lines(good)), Buffer.of(0x22, 0xe9, 0x22)]),
      2,
      'not JSON: not even UTF-8',
      1,
    ],
    ['an array', lines(good, '[]'), 2, 'not a recorded session: expected an object, found an array', 1],
    ['no messages', lines(good, '', {}), 3, 'not a recorded session: messages: expected an array', 1],
    [
      'another shape',
      lines(
        recordedSession('S2', {
          messages: [
            { role: 'robot', content: 1 },
            { role: 'tool', content: 'x' },
          ],
        }),
      ),
      1,
      'messages[0].role: expected system, user, assistant, tool, found a text; messages[0].content: expected text, an array of parts, or null, found a number; messages[1].tool_call_id: expected text that is not empty',
      0,
    ],
    ['a session without a name', lines(good, recordedSession('')), 2, 'session: expected text that is not empty', 1],
    [
      'gzip cut short',
      gzipSync(lines(good, good)).subarray(0, -10),
      2,
      'the gzip data ends here: the file was cut short',
      1,
    ],
    ['gzip damaged', damaged(gzipSync(lines(good))), 1, 'the gzip data is damaged', 0],
  ])('%s: names the line, and stores and counts the sessions before it', async (_, data, line, message, sessions) => {
    const file = writeRecording('bad', data)
    const run = await start(['--data-dir', dataDir, '--replay', file, '--json'])
    expect(run.exitCode).toBe(64)
    const told = run.stderr.split('\n').filter((text) => text.startsWith('npm start: '))
    expect(told).toHaveLength(1)
    expect(told[0]).toContain(`npm start: ${file} line ${line}: `)
    expect(told[0]).toContain(message)
    expect(run.stdout).toContain('INCOMPLETE')
    const accepted = sessions * EVENTS + OF_THE_RUN
    expect(summaryOf(run)).toMatchObject({ accepted, stored: accepted, sessions })
  })
})

function damaged(data: Buffer): Buffer {
  const copy = Buffer.from(data)
  // In the checksum: the error shows only at the end of the data.
  copy[copy.length - 6] = (copy[copy.length - 6] ?? 0) ^ 0xff
  return copy
}
