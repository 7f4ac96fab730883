/** `agent-audit keys`: keys, rotation and the trust file, as an operator makes them. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { openKeyFile, openTrust, parseTrust, verifyNote } from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function run(...args: string[]): Promise<Ran> {
  let out = ''
  let err = ''
  const terminal = {
    out: (text: string) => (out += text),
    err: (text: string) => (err += text),
    env: {},
    colors: false,
  }
  const code = await runCli(['keys', ...args], terminal)
  return { code, out, err }
}

/** Makes a key, and returns its file and vkey. */
async function generate(directory: string, id: string, role = 'producer'): Promise<{ file: string; vkey: string }> {
  const file = join(directory, `${encodeURIComponent(id)}-${role}.key`)
  const { code, out } = await run('generate', id, '--out', file, '--role', role, '--json')
  expect(code).toBe(0)
  return { file, vkey: (JSON.parse(out) as { vkey: string }).vkey }
}

it('a generated key is for its owner alone, has the encoded name of the id, and is never overwritten', async () => {
  const file = join(makeTempDirectory(), 'key')
  const { code, out } = await run('generate', 'acme/agent 1', '--out', file)
  const { vkey, keyName } = openKeyFile(file)
  expect([code, keyName]).toEqual([0, 'acme%2Fagent%201'])
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const [first, second] = out.split('\n')
  expect(first).toBe(vkey)
  expect(parseTrust(`audit-trust/v1\n${second}\n`).keys).toMatchObject([{ role: 'producer', notAfter: undefined }])
  const before = readFileSync(file)
  expect(await run('generate', 'acme', '--out', file)).toEqual({
    code: 64,
    out: '',
    err: `agent-audit: ${file}: expected a new file, and it exists\n`,
  })
  expect(readFileSync(file)).toEqual(before)
})

it('show prints the public key alone', async () => {
  const { file, vkey } = await generate(makeTempDirectory(), 'notary', 'notary')
  const { out } = await run('show', file, '--role', 'notary', '--json')
  const { key } = openKeyFile(file)
  expect(JSON.parse(out)).toMatchObject({ name: 'notary', vkey, cosigner_vkey: key.cosigner.vkey })
  expect(out).not.toContain(readFileSync(file, 'utf8').split('\n')[2])
  expect(await run('show', `${file}-missing`)).toMatchObject({ code: 64, err: expect.stringContaining('ENOENT') })
})

describe('a trust file', () => {
  it('is made, checked and changed', async () => {
    const directory = makeTempDirectory()
    const trust = join(directory, 'trust')
    const agent = await generate(directory, 'agent')
    const notary = await generate(directory, 'notary', 'notary')
    const { cosigner } = openKeyFile((await generate(directory, 'witness.example/w1')).file).key
    expect(await run('trust', trust)).toEqual({
      code: 64,
      out: '',
      err: `agent-audit: ${trust}: there is no such file\n`,
    })
    await run(
      'trust',
      trust,
      '--add',
      agent.vkey,
      '--from',
      '2026-01-01',
      '--until',
      '2027-01-01',
      '--producer',
      'agent',
    )
    await run(
      'trust',
      trust,
      '--add',
      notary.vkey,
      '--role',
      'notary',
      '--from',
      '2026-01-01',
      '--origin',
      'audit.example/log',
    )
    const changed = await run('trust', trust, '--witness', cosigner.vkey, '--service', 'approval desk')
    const text = readFileSync(trust, 'utf8')
    expect(changed).toEqual({ code: 0, out: text, err: '' })
    expect(text).toBe(`audit-trust/v1
key ${agent.vkey} producer 2026-01-01T00:00:00.000Z 2027-01-01T00:00:00.000Z
key ${notary.vkey} notary 2026-01-01T00:00:00.000Z -
producer agent
service approval%20desk
origin audit.example/log
witness ${cosigner.vkey}
`)
    expect(await run('trust', trust)).toEqual({ code: 0, out: text, err: '' })
    expect(await run('trust', trust, '--add', agent.vkey)).toMatchObject({
      code: 1,
      err: expect.stringContaining('expected the key of "agent" once'),
    })
    expect(readFileSync(trust, 'utf8')).toBe(text)
    writeFileSync(trust, `${text}# a comment\n`)
    expect(await run('trust', trust)).toMatchObject({
      code: 1,
      err: 'agent-audit: trust file, line 8: expected no further line, found "# a comment"\n',
    })
  })

  it('revokes a key, and an earlier revocation stays', async () => {
    const directory = makeTempDirectory()
    const trust = join(directory, 'trust')
    const { vkey } = await generate(directory, 'agent')
    await run('trust', trust, '--add', vkey, '--from', '2026-01-01')
    await run('trust', trust, '--revoke', vkey, '--at', '2026-03-01')
    await run('trust', trust, '--revoke', vkey, '--at', '2026-05-01')
    expect(parseTrust(readFileSync(trust, 'utf8')).keys).toMatchObject([{ revoked: Date.UTC(2026, 2) }])
    expect(await run('trust', trust, '--revoke', 'other+1+AA')).toMatchObject({
      code: 64,
      err: expect.stringContaining('the trust file has no key'),
    })
  })

  it('a rotation that the old key signs adds the new one', async () => {
    const directory = makeTempDirectory()
    const trust = join(directory, 'trust')
    const old = await generate(directory, 'agent')
    await run('trust', trust, '--add', old.vkey, '--from', '2026-01-01')
    const next = join(directory, 'next')
    const { code, out, err } = await run('rotate', old.file, '--out', next)
    const { vkey } = openKeyFile(next)
    expect(code).toBe(0)
    expect(verifyNote(out, [openKeyFile(old.file).key]).text).toContain(`next ${vkey}\n`)
    expect(err).toContain(`the line of the trust file: key ${vkey} producer `)
    writeFileSync(join(directory, 'note'), out)
    expect(await run('trust', trust, '--rotate', join(directory, 'note'), '--overlap', '2')).toMatchObject({
      code: 0,
      err: '',
    })
    const { keys } = parseTrust(readFileSync(trust, 'utf8'))
    expect(keys.map(({ key }) => key.vkey)).toEqual([old.vkey, vkey])
    expect((keys[0]?.notAfter ?? 0) - (keys[1]?.notBefore ?? 0)).toBe(2 * 86_400_000)
    await run('trust', trust, '--revoke', old.vkey)
    expect(await run('trust', trust, '--rotate', join(directory, 'note'))).toMatchObject({
      code: 1,
      err: expect.stringContaining('is revoked'),
    })
  })

  it('signed by a root key it is changed with that key alone', async () => {
    const directory = makeTempDirectory()
    const trust = join(directory, 'trust')
    const root = await generate(directory, 'root')
    const agent = await generate(directory, 'agent')
    await run('trust', trust, '--add', agent.vkey, '--root-key', root.file)
    const text = readFileSync(trust, 'utf8')
    expect(openTrust(text, openKeyFile(root.file).key).signature).toBe('checked')
    expect(await run('trust', trust)).toMatchObject({
      code: 0,
      err: 'agent-audit: its signature is not checked: give --root\n',
    })
    expect(await run('trust', trust, '--root', root.vkey)).toMatchObject({ code: 0, err: '' })
    expect(await run('trust', trust, '--producer', 'agent')).toMatchObject({
      code: 64,
      err: expect.stringContaining('a change needs --root-key'),
    })
    expect(await run('trust', trust, '--root', agent.vkey)).toMatchObject({
      code: 1,
      err: expect.stringContaining('no known key has signed it'),
    })
    writeFileSync(trust, text.replace(' producer ', ' notary '))
    expect(await run('trust', trust, '--producer', 'agent', '--root-key', root.file)).toMatchObject({
      code: 1,
      err: expect.stringContaining('the signature by "root"'),
    })
  })

  it('a folder in its place is no trust file', async () => {
    const trust = join(makeTempDirectory(), 'trust')
    mkdirSync(trust)
    expect(await run('trust', trust)).toMatchObject({ code: 3, err: expect.stringContaining('EISDIR') })
  })
})
