import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { start, writeRecording } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

it.each([
  [['--colour'], "Unknown option '--colour'"],
  [['file.jsonl'], "Unexpected argument 'file.jsonl'"],
  [['--sessions', '0'], '--sessions: expected a whole number from 1 to 100000, got "0"'],
  [['--seed', '1.5'], '--seed: expected a whole number from 0 to 4294967295, got "1.5"'],
  [['--replay', 'a.jsonl', '--seed', '1'], 'cannot be combined with --replay'],
  [['--replay'], "Option '--replay <value>' argument missing"],
  [['--replay', '--json'], "Option '--replay' needs a value"],
])('names the mistake in %j in one line, and starts nothing', async (args, message) => {
  const dataDir = join(makeTempDirectory(), 'data')
  const run = await start(['--data-dir', dataDir, ...args])
  expect(run).toMatchObject({ exitCode: 64, stdout: '' })
  expect(run.stderr).toContain(message)
  expect(run.stderr.trimEnd().split('\n')).toHaveLength(1)
  expect(existsSync(dataDir)).toBe(false)
})

it('lists its options with --help', async () => {
  const run = await start(['--help'])
  expect(run).toMatchObject({ exitCode: 0, stderr: '' })
  for (const option of ['--replay', '--kafka', '--data-dir', '--sessions', '--seed', '--json'])
    expect(run.stdout).toContain(option)
})

it('reports in one line that a data directory cannot be used', async () => {
  const file = writeRecording('file', '')
  const run = await start(['--data-dir', file])
  expect(run).toMatchObject({ exitCode: 64, stdout: '' })
  expect(run.stderr).toMatch(/^npm start: .*file/m)
  expect(run.stderr).not.toMatch(/^ +at /m)
})

it('goes through the Kafka that KAFKA_BROKERS names, without being asked', async () => {
  const dataDir = join(makeTempDirectory(), 'data')
  const run = await start(['--data-dir', dataDir], { KAFKA_BROKERS: '127.0.0.1:9' })
  expect(run.exitCode).toBe(1)
  expect(run.stderr).toContain('the topic could not be set up on Kafka at 127.0.0.1:9')
})
