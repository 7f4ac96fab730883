/** The embedded ClickHouse: rights of users, one server for each data directory, and its end after each kind of stop. */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, readdir, stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type ClickHouseServer, startClickHouse, type UserSpec } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { isRunning } from '../support/is-running.ts'
import { ask } from './ask.ts'
import { spawnProgram, startProgram } from './program.ts'
import { expectGone, NO_CLICKHOUSE } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const WRITER = { name: 'writer', grants: ['GRANT INSERT ON audit.notes'] } as const satisfies UserSpec
const WAIT = { timeout: 30_000, interval: 2 }

async function start(dataDir?: string): Promise<ClickHouseServer<'writer'>> {
  const server = await startClickHouse({ dataDir, users: [WRITER] })
  onTestFinished(() => server.stop())
  return server
}

async function makeNotes(server: ClickHouseServer): Promise<void> {
  const { admin } = server.credentials
  await ask(server.url, admin, 'CREATE DATABASE audit')
  await ask(server.url, admin, 'CREATE TABLE audit.notes (n UInt32) ENGINE = MergeTree ORDER BY n')
}

function addNote(server: ClickHouseServer<'writer'>, note: number): Promise<string> {
  return ask(server.url, server.credentials.writer, `INSERT INTO audit.notes VALUES (${note})`)
}

function readNotes(server: ClickHouseServer): Promise<string> {
  return ask(server.url, server.credentials.admin, 'SELECT groupArray(n) FROM (SELECT n FROM audit.notes ORDER BY n)')
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`startClickHouse ${NO_CLICKHOUSE ?? ''}`, () => {
  it('gives a user the rights it was given and no others', async () => {
    const server = await start()
    await makeNotes(server)
    expect(await addNote(server, 1)).toBe('')
    const refused = [
      'SELECT * FROM audit.notes',
      'ALTER TABLE audit.notes DELETE WHERE n = 1',
      'DELETE FROM audit.notes WHERE n = 1',
      'TRUNCATE TABLE audit.notes',
      'DROP TABLE audit.notes',
    ]
    for (const statement of refused) {
      expect(await ask(server.url, server.credentials.writer, statement)).toContain('ACCESS_DENIED')
    }
    expect(await readNotes(server)).toBe('[1]')
  })

  it('lets no user without a password read or drop a table', async () => {
    const server = await start()
    await makeNotes(server)
    const anonymous = { username: 'default', password: '' }
    expect(await ask(server.url, anonymous, 'SELECT n FROM audit.notes')).toContain('USER_SESSION_LIMIT_EXCEEDED')
    expect(await ask(server.url, anonymous, 'DROP TABLE audit.notes')).toContain('USER_SESSION_LIMIT_EXCEEDED')
    expect(await ask(server.url, { username: 'admin', password: '' }, 'SELECT 1')).toContain('AUTHENTICATION_FAILED')
  })

  it('lets no user without a password read or write a file', async () => {
    const server = await start()
    const anonymous = { username: 'default', password: '' }
    const file = join(server.dataDir, 'clickhouse', 'passwords.json')
    const read = `SELECT * FROM file('${file}', 'LineAsString')`
    expect(await ask(server.url, anonymous, read)).toContain('USER_SESSION_LIMIT_EXCEEDED')
    const write = `INSERT INTO FUNCTION file('${file}.copy', 'LineAsString', 'line String') VALUES ('x')`
    expect(await ask(server.url, anonymous, write)).toContain('USER_SESSION_LIMIT_EXCEEDED')
  })

  it('gives a user its settings', async () => {
    const server = await startClickHouse({ users: [{ name: 'reader', grants: [], settings: { max_threads: '1' } }] })
    onTestFinished(() => server.stop())
    const setting = await ask(server.url, server.credentials.reader, "SELECT getSetting('max_threads')")
    expect(setting).toBe('1')
  })

  it('attaches to the live server of a data directory, and leaves it alone', async () => {
    const dataDir = makeTempDirectory()
    const owner = await start(dataDir)
    await makeNotes(owner)
    await addNote(owner, 1)
    const guest = await start(dataDir)
    expect([owner.attached, guest.attached, guest.url]).toEqual([false, true, owner.url])
    await addNote(guest, 2)
    await guest.stop()
    await guest.kill()
    expect(await readNotes(owner)).toBe('[1,2]')
  })

  it('lets one of several starters at once win, and attaches the others', async () => {
    const dataDir = makeTempDirectory()
    const servers = await Promise.all([start(dataDir), start(dataDir), start(dataDir)])
    expect(servers.filter((server) => !server.attached)).toHaveLength(1)
    expect(new Set(servers.map((server) => server.url)).size).toBe(1)
  })

  it('names the user that the live server lacks', async () => {
    const dataDir = makeTempDirectory()
    await start(dataDir)
    const other = startClickHouse({ dataDir, users: [{ name: 'auditor', grants: [] }] })
    await expect(other).rejects.toThrow(/has no user auditor/)
  })

  it('keeps data, passwords and address over a stop and over a crash', async () => {
    const dataDir = makeTempDirectory()
    const first = await start(dataDir)
    await makeNotes(first)
    await addNote(first, 1)
    await first.stop()
    const second = await start(dataDir)
    expect([second.url, second.credentials]).toEqual([first.url, first.credentials])
    await addNote(second, 2)
    await second.kill()
    expect(isRunning(second.pid)).toBe(false)
    const third = await start(dataDir)
    expect([third.attached, third.url]).toEqual([false, second.url])
    expect(await readNotes(third)).toBe('[1,2]')
  })

  it('does not accept another server on the port of a dead server', async () => {
    const dataDir = makeTempDirectory()
    const dead = await start(dataDir)
    await dead.kill()
    const stranger = createServer((_, response) => response.end('Ok.'))
    await new Promise<void>((resolve) => stranger.listen(Number(new URL(dead.url).port), '127.0.0.1', resolve))
    onTestFinished(() => {
      stranger.close()
      stranger.closeAllConnections()
    })
    // The next owner holds the directory and has not removed the address of the dead one yet.
    const owner = new DatabaseSync(join(dataDir, 'clickhouse', 'owner.lock'))
    owner.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    const asked = once(stranger, 'request')
    const starting = start(dataDir)
    await asked
    owner.close()
    const server = await starting
    expect(server.attached).toBe(false)
    expect(server.url).not.toBe(dead.url)
  })

  it('keeps passwords from other users of the machine', async () => {
    const dataDir = makeTempDirectory()
    await chmod(dataDir, 0o755)
    await start(dataDir)
    const home = join(dataDir, 'clickhouse')
    for (const name of ['passwords.json', 'users.xml']) {
      expect((await stat(join(home, name))).mode & 0o077).toBe(0)
    }
  })

  it('runs two servers side by side, with separate data and passwords', async () => {
    const [one, two] = await Promise.all([start(), start()])
    await Promise.all([makeNotes(one), makeNotes(two)])
    await addNote(one, 1)
    await addNote(two, 2)
    expect([await readNotes(one), await readNotes(two)]).toEqual(['[1]', '[2]'])
    expect(await ask(two.url, one.credentials.admin, 'SELECT 1')).toContain('AUTHENTICATION_FAILED')
    await one.stop()
    expect(await readNotes(two)).toBe('[2]')
  })

  it('reports the output of a server that does not start', async () => {
    const broken = startClickHouse({ users: [{ name: 'writer', grants: [], settings: { no_such_setting: '1' } }] })
    await expect(broken).rejects.toThrow(/Unknown setting 'no_such_setting'/)
    await expect(broken).rejects.toMatchObject({ code: 'PART_UNAVAILABLE' })
  })

  it('reports the output of its own server to a starter, though the next server has started meanwhile', async () => {
    const dataDir = makeTempDirectory()
    const { child, said } = spawnProgram('broken-clickhouse', dataDir)
    await expect.poll(() => existsSync(join(dataDir, 'clickhouse', 'owner.lock')), WAIT).toBe(true)
    child.kill('SIGSTOP')
    // Its host fails, which frees the directory.
    await start(dataDir)
    child.kill('SIGCONT')
    expect(await said).toContain("Unknown setting 'no_such_setting'")
  })

  it.each(['admin', 'default', 'a b', ''])('refuses %j as the name of a user', async (name) => {
    await expect(startClickHouse({ users: [{ name, grants: [] }] })).rejects.toMatchObject({ code: 'OPTIONS_INVALID' })
  })

  it('removes a temporary directory when it stops', async () => {
    const server = await start()
    expect(await readdir(server.dataDir)).not.toEqual([])
    await server.stop()
    expect(existsSync(server.dataDir)).toBe(false)
    expect(isRunning(server.pid)).toBe(false)
  })

  it('ends when its parent is killed, and the directory can be started at once', async () => {
    const dataDir = makeTempDirectory()
    const program = await startProgram('clickhouse', dataDir)
    process.kill(program.pid, 'SIGKILL')
    await expectGone(program.part.pids)
    expect((await start(dataDir)).attached).toBe(false)
  })

  it('takes over when the owner is killed while others wait to attach', async () => {
    const dataDir = makeTempDirectory()
    const program = await startProgram('clickhouse', dataDir)
    process.kill(program.pid, 'SIGKILL')
    // At once: the old server may still be ending, and its endpoint file still be there.
    const server = await start(dataDir)
    await expectGone(program.part.pids)
    expect(await ask(server.url, server.credentials.writer, 'SELECT 1')).toBe('1')
  })

  it('leaves no temporary directory behind a killed parent', async () => {
    const program = await startProgram('clickhouse')
    process.kill(program.pid, 'SIGKILL')
    await expectGone(program.part.pids)
    await expect.poll(() => existsSync(program.part.directory), { timeout: 30_000 }).toBe(false)
  })
})

describe('a ClickHouse named by CLICKHOUSE_URL', () => {
  it.skipIf(NO_CLICKHOUSE !== undefined)(`is used as it is, and left alone ${NO_CLICKHOUSE ?? ''}`, async () => {
    const running = await start()
    vi.stubEnv('CLICKHOUSE_URL', running.url)
    vi.stubEnv('CLICKHOUSE_USER', running.credentials.admin.username)
    vi.stubEnv('CLICKHOUSE_PASSWORD', running.credentials.admin.password)
    onTestFinished(() => {
      vi.stubEnv('CLICKHOUSE_URL', undefined)
    })
    const server = await startClickHouse({ users: [] })
    expect([server.attached, server.url]).toEqual([true, running.url])
    await server.stop()
    expect(await ask(server.url, server.credentials.admin, 'SELECT 1')).toBe('1')
  })

  it.skipIf(NO_CLICKHOUSE !== undefined)(
    `is used with its own users, where the environment has their passwords ${NO_CLICKHOUSE ?? ''}`,
    async () => {
      const running = await startClickHouse({ users: [{ name: 'audit_reader', grants: ['GRANT SELECT ON audit.*'] }] })
      onTestFinished(() => running.stop())
      const { admin, audit_reader: reader } = running.credentials
      const environment = {
        CLICKHOUSE_URL: running.url,
        CLICKHOUSE_USER: admin.username,
        CLICKHOUSE_PASSWORD: admin.password,
        AUDIT_READER_PASSWORD: reader.password,
      }
      for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
      onTestFinished(() => {
        for (const name of Object.keys(environment)) vi.stubEnv(name, undefined)
      })
      // The embedded server cannot make users: neither can a server whose users are all in files.
      const server = await startClickHouse({ users: [{ name: 'audit_reader', grants: [] }] })
      expect(server.credentials.audit_reader).toEqual({ username: 'audit_reader', password: reader.password })
      await server.stop()
      expect(await ask(running.url, reader, 'SELECT 1')).toBe('1')
    },
  )

  it('is named in the error when it does not answer', async () => {
    vi.stubEnv('CLICKHOUSE_URL', 'http://127.0.0.1:9')
    onTestFinished(() => {
      vi.stubEnv('CLICKHOUSE_URL', undefined)
    })
    await expect(startClickHouse({ users: [] })).rejects.toThrow(/CLICKHOUSE_URL http:\/\/127.0.0.1:9 cannot be used/)
  })
})
