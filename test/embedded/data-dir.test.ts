/** Directories that hold no trail, or whose files are not as they should be: one line says so, and nothing is made. */
import { chmodSync, cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openDataDir } from '@agent-audit/embedded'
import { InvalidInputError, TrailError } from '@agent-audit/schemas'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { NO_CLICKHOUSE, NOBODY, NOT_ROOT } from './support.ts'

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url))

/** Opens a data directory that cannot be opened. @returns The error. */
async function refusal(directory: string, create = true): Promise<TrailError> {
  const opened = await openDataDir(directory, { create }).catch((error: unknown) => error)
  if (!(opened instanceof TrailError)) throw new Error('expected a TrailError', { cause: opened })
  expect(opened.message).not.toContain('\n')
  return opened
}

describe('to read a directory that holds no trail', () => {
  it.each<[string, (directory: string) => void]>([
    ['an empty one', () => {}],
    ['one with a folder named clickhouse', (directory) => mkdirSync(join(directory, 'clickhouse'))],
    ["a copy of the server's configuration", (directory) => cpSync(DEPLOY, directory, { recursive: true })],
  ])('makes nothing in it: %s', async (_, fill) => {
    const directory = makeTempDirectory()
    fill(directory)
    const before = readdirSync(directory, { recursive: true })
    const error = await refusal(directory, false)
    expect([error.code, error.message]).toEqual([
      'OPTIONS_INVALID',
      expect.stringContaining(`no trail in "${directory}"`),
    ])
    expect(readdirSync(directory, { recursive: true })).toEqual(before)
  })

  it('makes no directory', async () => {
    const parent = makeTempDirectory()
    expect((await refusal(join(parent, 'none'), false)).code).toBe('OPTIONS_INVALID')
    writeFileSync(join(parent, 'file'), '')
    expect((await refusal(join(parent, 'file'), false)).code).toBe('OPTIONS_INVALID')
    expect(readdirSync(parent)).toEqual(['file'])
  })
})

describe.skipIf(NOT_ROOT !== undefined)(`another account's directory ${NOT_ROOT ?? ''}`, () => {
  it.each([true, false])('is refused in one line that names it (create: %j)', async (create) => {
    const parent = makeTempDirectory()
    chmodSync(parent, 0o755)
    const directory = join(parent, 'theirs')
    mkdirSync(join(directory, 'clickhouse'), { recursive: true, mode: 0o700 })
    process.seteuid?.(NOBODY)
    onTestFinished(() => process.seteuid?.(0))
    const error = await refusal(directory, create)
    expect(error).toBeInstanceOf(InvalidInputError)
    expect(error.message).toMatch(/^data directory ".*theirs": EACCES: permission denied/)
  })
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`a damaged data directory ${NO_CLICKHOUSE ?? ''}`, () => {
  it.each([
    ['owner.lock', 'not a lock, and longer than the head of a database is'.repeat(20)],
    ['passwords.json', '{'],
  ])('is refused in one line that names the file: %s', async (name, text) => {
    const directory = makeTempDirectory()
    mkdirSync(join(directory, 'clickhouse'))
    writeFileSync(join(directory, 'clickhouse', name), text)
    const error = await refusal(directory)
    expect([error.code, error.message]).toEqual(['PART_UNAVAILABLE', expect.stringContaining(name)])
  })
})
