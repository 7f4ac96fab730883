/** What the embedded ClickHouse lets others do: processes and accounts of the machine, web pages, its own users. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type DataDir, type DataDirUser, openDataDir } from '@agent-audit/embedded'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Answer, type Attack, basic, NO_CLICKHOUSE, NO_LANDLOCK, NOBODY, NOT_ROOT, send } from './support.ts'

let dataDir: DataDir
let outside = ''
let directory = ''
const PROGRAM = fileURLToPath(new URL('open-data-dir.ts', import.meta.url))
const SECRET = 'a secret of this account'

beforeAll(async () => {
  if (NO_CLICKHOUSE !== undefined) return
  outside = mkdtempSync(join(tmpdir(), 'agent-audit-test-'))
  // As a directory in a home is: other accounts can enter it.
  chmodSync(outside, 0o755)
  writeFileSync(join(outside, 'secret'), SECRET)
  directory = join(outside, 'data')
  vi.stubEnv('SERVICE_API_KEY', SECRET)
  dataDir = await openDataDir(directory)
})
afterAll(async () => {
  await dataDir?.close()
  if (outside !== '') rmSync(outside, { recursive: true, force: true })
})

function attack(what: Attack): Promise<Answer> {
  return send(dataDir.reader.url, what)
}

function as({ username, password }: DataDirUser): Record<string, string> {
  return { 'X-ClickHouse-User': username, 'X-ClickHouse-Key': password }
}

function ask(user: DataDirUser, body: string): Promise<Answer> {
  return attack({ headers: as(user), body })
}

/** Runs a program that opens a data directory of its own. */
function openInProgram(
  args: readonly string[],
  { nodeOptions = '', ...account }: { nodeOptions?: string; uid?: number; gid?: number } = {},
): { stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['--conditions=agent-audit-source', PROGRAM, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: nodeOptions },
    ...account,
  })
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`without a password ${NO_CLICKHOUSE ?? ''}`, () => {
  const statement = "SELECT 'let in'"
  const ways: [string, Attack][] = [
    ['no name', {}],
    ['a header', { headers: { 'X-ClickHouse-User': 'default' } }],
    ['a parameter', { path: '/?user=default&password=' }],
    ['basic authentication', { headers: { Authorization: basic('default', '') } }],
    ['a parameter beside another name', { path: '/?user=default', headers: { Authorization: basic('admin', '') } }],
    ['a session', { path: '/?session_id=s&session_timeout=60' }],
    ['a setting', { path: '/?max_sessions_for_user=9' }],
    ['a GET', { method: 'GET', path: `/?query=${encodeURIComponent(statement)}` }],
  ]
  it.each(ways)('a process of the machine gets no statement run: the name by %s', async (_, way) => {
    const answer = await attack({ body: way.method === 'GET' ? '' : statement, ...way })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.text).not.toMatch(/^let in/)
  })

  it('a process of the machine ends no query and stops no listener', async () => {
    for (const body of ['KILL QUERY WHERE 1', 'SYSTEM STOP LISTEN HTTP', 'SELECT query FROM system.processes']) {
      expect((await attack({ body })).text).toContain('USER_SESSION_LIMIT_EXCEEDED')
    }
    expect((await ask(dataDir.reader, 'SELECT 1')).text).toBe('1\n')
  })

  it.each(['/play', '/dashboard', '/binary', '/merges', '/jemalloc', '/webterminal', '/js/uplot.js', '/ping'])(
    'a browser gets no page at %s',
    async (path) => {
      expect((await attack({ method: 'GET', path })).status).toBe(404)
    },
  )
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`a web page ${NO_CLICKHOUSE ?? ''}`, () => {
  const query = `query=${encodeURIComponent("SELECT 'let in'")}`
  const ways: [string, Attack][] = [
    ['a name that resolves to loopback', { headers: { Host: 'rebind.evil.example' } }],
    ['a form of another origin', { headers: { Origin: 'http://evil.example', 'Content-Type': 'text/plain' } }],
    ['an opaque origin', { headers: { Origin: 'null' } }],
    ['the CORS parameter', { path: `/?add_http_cors_header=1`, headers: { Origin: 'http://evil.example' } }],
    ['a preflight', { method: 'OPTIONS', headers: { Origin: 'http://evil.example' } }],
  ]
  it.each(ways)('is refused even with the right password: %s', async (_, way) => {
    const path = way.path === undefined ? `/?${query}` : `${way.path}&${query}`
    const answer = await attack({ ...way, path, headers: { ...as(dataDir.reader), ...way.headers } })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.text).not.toContain('let in')
    expect(answer.headers['access-control-allow-origin']).toBeUndefined()
  })

  it('has no part in what programs send', async () => {
    const { username, password, url } = dataDir.reader
    for (const host of [new URL(url).host, '127.0.0.1', 'localhost:8123']) {
      const headers = { Authorization: basic(username, password), Host: host }
      expect(await attack({ headers, body: 'SELECT currentUser()' })).toMatchObject({
        status: 200,
        text: `${username}\n`,
      })
    }
  })
})

describe.skipIf(NO_LANDLOCK !== undefined)(`a user with a password ${NO_LANDLOCK ?? ''}`, () => {
  it('reads no file of the account by the function file()', async () => {
    const passwords = join(directory, 'clickhouse', 'passwords.json')
    for (const path of [passwords, join(outside, 'secret'), '/etc/hostname', '/etc/passwd', '/proc/self/environ']) {
      for (const user of [dataDir.reader, dataDir.writer, dataDir.admin]) {
        const { status, text } = await ask(user, `SELECT file('${path}')`)
        expect([path, status, text]).toEqual([path, 503, expect.stringContaining('CANNOT_OPEN_FILE')])
      }
    }
  })

  it('finds no secret of the environment', async () => {
    for (const path of ['/proc/self/environ', '/proc/thread-self/environ', '/proc/self/task/*/environ']) {
      const { text } = await ask(dataDir.reader, `SELECT file('${path}', '')`)
      expect(text).not.toContain(SECRET)
    }
    // The reader may not use the table function; what it would show is read here.
    const own = readFileSync(`/proc/${dataDir.clickhouse.pid}/environ`, 'utf8')
    expect([own.includes('PATH='), own.includes(SECRET)]).toEqual([true, false])
  })

  it('finds no password in the files that the server reads', async () => {
    const users = await ask(dataDir.writer, `SELECT file('${join(directory, 'clickhouse', 'users.xml')}')`)
    expect(users.text).toContain('password_sha256_hex')
    for (const { password } of [dataDir.reader, dataDir.writer, dataDir.admin]) {
      expect(users.text).not.toContain(password)
      expect(readFileSync(join(directory, 'clickhouse', 'config.xml'), 'utf8')).not.toContain(password)
    }
  })

  it('writes no file outside the data, with all rights of ClickHouse neither', async () => {
    const fresh = join(outside, 'fresh')
    for (const [path, settings] of [
      [fresh, ''],
      [join(outside, 'secret'), ''],
      [join(outside, 'secret'), ' SETTINGS engine_file_truncate_on_insert = 1'],
    ]) {
      const insert = `INSERT INTO FUNCTION file('${path}', 'LineAsString', 'line String')${settings} VALUES ('x')`
      expect((await ask(dataDir.admin, insert)).text).toContain('CANNOT_OPEN_FILE')
      expect((await ask(dataDir.writer, insert)).text).toContain('ACCESS_DENIED')
      expect((await ask(dataDir.reader, insert)).text).toContain('ACCESS_DENIED')
    }
    expect((await ask(dataDir.admin, `SELECT 1 INTO OUTFILE '${fresh}'`)).text).toContain('INTO_OUTFILE_NOT_ALLOWED')
    expect([existsSync(fresh), readFileSync(join(outside, 'secret'), 'utf8')]).toEqual([false, SECRET])
  })

  it('has as many sessions at once as it opens', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(dataDir.reader, 'SELECT sleep(0.1)')))
    expect(answers.map(({ text }) => text)).toEqual(answers.map(() => '0\n'))
  })

  it('makes, fills, reads, moves and drops tables as before', async () => {
    const statements = [
      'CREATE TABLE audit.t (n UInt32) ENGINE = MergeTree ORDER BY n',
      'INSERT INTO audit.t SELECT number FROM numbers(1000)',
      'ALTER TABLE audit.t DETACH PARTITION tuple()',
      'ALTER TABLE audit.t ATTACH PARTITION tuple()',
      'ALTER TABLE audit.t DELETE WHERE n = 1 SETTINGS mutations_sync = 2',
      'RENAME TABLE audit.t TO audit.u',
      'SELECT n FROM audit.u ORDER BY n FORMAT Null SETTINGS max_bytes_before_external_sort = 1, max_bytes_ratio_before_external_sort = 0',
      'DROP TABLE audit.u SYNC',
    ]
    for (const statement of statements) {
      expect([statement, (await ask(dataDir.admin, statement)).text]).toEqual([statement, ''])
    }
  })
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`another account of the machine ${NO_CLICKHOUSE ?? ''}`, () => {
  it('has no right to a file of the data directory', () => {
    const open = readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .map((name) => ({ name, stat: lstatSync(join(directory, name)) }))
      .filter(({ stat }) => !stat.isSymbolicLink() && (stat.mode & 0o077) !== 0)
    expect(open.map(({ name }) => name)).toEqual([])
    expect(lstatSync(directory).mode & 0o077).toBe(0)
  })

  it.skipIf(NOT_ROOT !== undefined)(`sees no file below it ${NOT_ROOT ?? ''}`, () => {
    const found = spawnSync('find', [directory], { uid: NOBODY, gid: NOBODY, cwd: '/', encoding: 'utf8' })
    expect([found.stdout.trim(), found.stderr]).toEqual([directory, expect.stringContaining('Permission denied')])
  })
})

describe.skipIf(NO_LANDLOCK !== undefined)(`the confinement ${NO_LANDLOCK ?? ''}`, () => {
  it('warns where the kernel cannot confine the server, and says what its users can read', () => {
    const { stdout, stderr } = openInProgram([join(outside, 'unconfined'), 'exhausted'])
    expect(stdout).toBe('0\n')
    expect(stderr).toMatch(/AGENT_AUDIT_UNCONFINED.*not confined to its files.*every file of this account/)
  })

  it('holds for a program whose NODE_OPTIONS load a module that starts threads', () => {
    const module = "import { readFile } from 'node:fs/promises'; await readFile('/dev/null')"
    const nodeOptions = `--import=data:text/javascript,${encodeURIComponent(module)}`
    const { stdout, stderr } = openInProgram([join(outside, 'preloaded')], { nodeOptions })
    expect([stdout, stderr]).toEqual(['0\n', ''])
  })

  it.skipIf(NOT_ROOT !== undefined)(`needs no privileges ${NOT_ROOT ?? ''}`, ({ skip }) => {
    const account = { uid: NOBODY, gid: NOBODY }
    const read = `require('node:fs').readFileSync(${JSON.stringify(PROGRAM)})`
    const { status } = spawnSync(process.execPath, ['-e', read], account)
    skip(status !== 0, 'another account cannot read this repository')
    const home = join(outside, 'unprivileged')
    mkdirSync(home)
    chownSync(home, NOBODY, NOBODY)
    const { stdout, stderr } = openInProgram([join(home, 'data')], account)
    expect([stdout, stderr]).toEqual(['0\n', ''])
  })
})
