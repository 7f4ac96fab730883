/** The folder of data keys, as the processes of one machine share it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createFileKeyStore, newKekLine, openFileKeyStore, rotateKek } from '@agent-audit/erasure'
import { describe, expect, it } from 'vitest'
import { ANNA, newStore } from './support.ts'

const PROCESSES = 4
const SUBJECTS = 20
/** Prints the key of each subject, all of them asked for at the same time as the other processes ask. */
const PROGRAM = `
  const { openFileKeyStore } = await import('@agent-audit/erasure')
  const store = openFileKeyStore({ directory: process.argv[1], kekFile: process.argv[2] })
  while (Date.now() < Number(process.argv[3])) {}
  const keys = Array.from({ length: ${SUBJECTS} }, (_, id) => store.keyFor({ kind: 'user', id: String(id) }))
  console.log(keys.map(({ secret }) => Buffer.from(secret).toString('hex')).join(' '))`

function filesIn(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
}

function textsIn(directory: string): string[] {
  return filesIn(directory).map((path) => readFileSync(path, 'utf8'))
}

describe('a folder of data keys', () => {
  it('gives processes that ask at the same time one key a subject', async () => {
    const { options } = newStore()
    const start = String(Date.now() + 1500)
    const asked = Array.from({ length: PROCESSES }, async () => {
      const args = [
        '--conditions=agent-audit-source',
        '--input-type=module',
        '--eval',
        PROGRAM,
        options.directory,
        options.kekFile,
        start,
      ]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      let out = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
      await once(child, 'close')
      return out.trim()
    })
    const answers = await Promise.all(asked)
    expect(new Set(answers).size).toBe(1)
    expect(new Set(answers[0]?.split(' ')).size).toBe(SUBJECTS)
    expect(filesIn(options.directory).filter((path) => path.endsWith('.key'))).toHaveLength(SUBJECTS)
  })

  it('names no subject: neither in the names of files nor in their texts', () => {
    const { options, store } = newStore()
    store.keyFor(ANNA)
    store.erase(ANNA)
    expect(filesIn(options.directory).join()).not.toContain('anna')
    expect(textsIn(options.directory).join()).not.toContain('anna')
    // The same subject has another id in another store: without its secret, an id cannot be guessed.
    expect(newStore().store.idOf(ANNA)).not.toBe(store.idOf(ANNA))
  })

  it('destroys a key: what wrapped it is in no file any more, and no process gets it again', () => {
    const { options, store } = newStore()
    const key = store.keyFor(ANNA)
    const path = filesIn(options.directory).find((each) => each.endsWith('.key')) ?? ''
    const wrapped = /wrapped \S+ (\S+)/.exec(readFileSync(path, 'utf8'))?.[1] ?? 'none'
    // Another name of the same bytes on the disk.
    const bytes = `${options.kekFile}.link`
    linkSync(path, bytes)
    expect(store.erase(ANNA)).toEqual({ keyId: key.id, done: 'erased' })
    expect(existsSync(path)).toBe(false)
    expect(readFileSync(bytes, 'utf8')).toMatch(/^\0+$/)
    expect(textsIn(options.directory).join()).not.toContain(wrapped)
    const other = openFileKeyStore(options)
    expect(other.keyFor(ANNA)).toEqual({ id: key.id, secret: undefined })
    expect(other.find(key.id)).toEqual({ id: key.id, secret: undefined })
    expect(store.erase(ANNA)).toEqual({ keyId: key.id, done: 'was_erased' })
  })

  it('ends an erasure that was killed between the tombstone and the key', () => {
    const { options, store } = newStore()
    const { id } = store.keyFor(ANNA)
    const path = filesIn(options.directory).find((each) => each.endsWith('.key')) ?? ''
    writeFileSync(path.replace(/key$/, 'erased'), 'a tombstone')
    expect(store.find(id)).toEqual({ id, secret: undefined })
    expect(store.erase(ANNA).done).toBe('was_erased')
    expect(existsSync(path)).toBe(false)
  })

  it('tells a subject without a key, such as a name that is written wrong', () => {
    const { options, store } = newStore()
    expect(store.erase(ANNA).done).toBe('unknown')
    expect(filesIn(options.directory).filter((path) => path.endsWith('.erased'))).toEqual([])
  })

  it('gives an erased subject a new key once it is admitted again; the old one stays destroyed', () => {
    const { store } = newStore()
    const { id } = store.keyFor(ANNA)
    expect(store.admitAgain(ANNA)).toBe(false)
    store.erase(ANNA)
    expect(store.admitAgain(ANNA)).toBe(true)
    const next = store.keyFor(ANNA)
    expect(next).toMatchObject({ secret: expect.any(Uint8Array) as unknown, subject: ANNA })
    expect(next.id).not.toBe(id)
    expect(store.find(id)).toEqual({ id, secret: undefined })
    store.erase(ANNA)
    expect(store.keyFor(ANNA)).toEqual({ id: next.id, secret: undefined })
  })

  it('makes nothing in a folder that is not mounted', () => {
    const { options, store } = newStore()
    rmSync(options.directory, { recursive: true })
    expect(() => store.keyFor(ANNA)).toThrow(expect.objectContaining({ code: 'KEY_STORE_UNAVAILABLE' }))
    expect(existsSync(options.directory)).toBe(false)
  })

  it('wraps its keys under a new key-encryption key while others use them, and ends a rotation that was killed', () => {
    const { options, store } = newStore()
    const key = store.keyFor(ANNA)
    const old = readFileSync(options.kekFile, 'utf8')
    expect(rotateKek(options).keys).toBe(1)
    expect(readFileSync(options.kekFile, 'utf8')).not.toContain(old.split(' ')[2])
    expect(store.find(key.id)).toEqual(key)
    expect(openFileKeyStore(options).keyFor(ANNA)).toEqual(key)
    // Killed right after it has written the new key.
    const half = `${newKekLine()}\n${readFileSync(options.kekFile, 'utf8')}`
    writeFileSync(options.kekFile, half)
    const other = store.keyFor({ kind: 'user', id: 'other' })
    expect(rotateKek(options).kekId).toBe(half.split(' ')[1])
    expect(readFileSync(options.kekFile, 'utf8').split('\n')).toHaveLength(2)
    expect(openFileKeyStore(options).find(key.id)).toEqual(key)
    expect(store.find(other.id)).toEqual(other)
    store.erase(ANNA)
    rotateKek(options)
    expect(store.find(key.id)).toEqual({ id: key.id, secret: undefined })
  })

  it('is for its owner alone, and one that others may enter is refused', () => {
    const { options, store } = newStore()
    store.keyFor(ANNA)
    const entries = readdirSync(options.directory, { recursive: true, withFileTypes: true })
    const modes = entries.map((entry) => statSync(join(entry.parentPath, entry.name)).mode & 0o777)
    expect(new Set([statSync(options.directory).mode & 0o777, ...modes])).toEqual(new Set([0o700, 0o600]))
    for (const mode of [0o750, 0o701, 0o777]) {
      chmodSync(options.directory, mode)
      for (const open of [openFileKeyStore, createFileKeyStore, rotateKek]) {
        expect(() => open(options)).toThrow(/expected mode 0700, found 07\d\d: others could read or exchange its keys/)
      }
    }
    chmodSync(options.directory, 0o700)
    expect(openFileKeyStore(options).find(store.idOf(ANNA))?.secret).toBeDefined()
    const file = { ...options, directory: options.kekFile }
    expect(() => openFileKeyStore(file)).toThrow(/expected a folder/)
  })

  it('overwrites no file that a link in it leads to', () => {
    const { options, store } = newStore()
    const { id } = store.keyFor(ANNA)
    const path = filesIn(options.directory).find((each) => each.endsWith('.key')) ?? ''
    const target = `${options.kekFile}.other`
    writeFileSync(target, 'of another program')
    rmSync(path)
    symlinkSync(target, path)
    expect(store.erase(ANNA)).toEqual({ keyId: id, done: 'erased' })
    expect(readFileSync(target, 'utf8')).toBe('of another program')
    expect(filesIn(options.directory).filter((each) => !/(store|erased)$/.test(each))).toEqual([])
  })

  it.each([
    ['a path', '../../x'],
    ['an absolute path', '/etc/passwd'],
    ['10,000 characters', 'ö'.repeat(10_000)],
    ['lines and a NUL', 'user\n1\nanna\0'],
    ['nothing but a dot', '.'],
  ])('takes %s for a name like any other', (_, id) => {
    const { options, store } = newStore()
    const around = join(options.directory, '..')
    const before = filesIn(around).filter((each) => !each.startsWith(options.directory))
    const subject = { kind: 'user', id } as const
    const key = store.keyFor(subject)
    expect(openFileKeyStore(options).find(key.id)).toEqual({ id: key.id, secret: key.secret, subject })
    // Its own key: not that of the session with this name, nor of a longer name.
    const others = [
      { kind: 'session', id },
      { kind: 'user', id: `${id}\n` },
    ] as const
    expect(new Set([key, ...others.map((each) => store.keyFor(each))].map((each) => each.id)).size).toBe(3)
    expect(store.erase(subject)).toEqual({ keyId: key.id, done: 'erased' })
    expect(filesIn(around).filter((each) => !each.startsWith(options.directory))).toEqual(before)
    const names = filesIn(options.directory).map((each) => each.slice(options.directory.length))
    expect(names.every((name) => /^\/(store|[0-9a-f]{2}\/[0-9a-f]{32}\.(key|erased))$/.test(name))).toBe(true)
  })

  it('takes a key-encryption key from its owner alone, and names the one that is missing', () => {
    const { options, store } = newStore()
    store.keyFor(ANNA)
    chmodSync(options.kekFile, 0o640)
    const open = () => openFileKeyStore(options)
    expect(open).toThrow(/expected mode 0600 or 0400, found 0640/)
    chmodSync(options.kekFile, 0o600)
    const [, id] = readFileSync(options.kekFile, 'utf8').split(' ')
    writeFileSync(options.kekFile, `${newKekLine()}\n`)
    expect(open).toThrow(new RegExp(`expected the KEK ${id}`))
    writeFileSync(options.kekFile, 'audit-kek/v1 00000000 AAAA\n')
    expect(open).toThrow(/line 1: expected "audit-kek\/v1/)
  })
})
