/**
 * Data keys in a folder, each in a file of its own, wrapped under the operator's KEK (docs/erasure.md). Processes of one machine share
 * the folder without a lock: each step is the creation of a whole file under a name that tells all.
 *
 *   store            the secret that ids are made with, wrapped
 *   <2>/<id>.key     the data key and its subject, wrapped
 *   <2>/<id>.erased  the tombstone: created before the key is destroyed, never removed
 *   <2>/<id>.next    after an erasure the subject was admitted again, under its next key
 *
 * A producer makes a key while an erasure is under way: the eraser's tombstone comes first, then it looks for a key. The producer links
 * its key, then looks for a tombstone. Whichever comes second finds the other, and destroys the key.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { DATA_KEY_BYTES, DATA_KEY_ID, type DataKey, type DataKeyStore, type Subject } from './data-keys.ts'
import { createWhole, destroyFile, replaceWhole } from './durable-files.ts'
import { formatKeks, type Kek, newKekLine, readKeks, unwrap, wrap } from './kek-file.ts'

const STORE = /^audit-keys\/v1\nids ([0-9a-f]{8} [A-Za-z0-9+/=]+)\n$/
const KEY = /^audit-data-key\/v1\nid ([0-9a-f]{32})\nwrapped ([0-9a-f]{8} [A-Za-z0-9+/=]+)\n$/
const ABOUT_IDS = 'audit-keys/v1 ids'
const ID_BYTES = 16

/** How a folder of data keys is opened. */
export interface FileKeyStoreOptions {
  /** Made by `agent-audit data-keys init`. */
  readonly directory: string
  /** The file of the key-encryption keys: mode 0600 or 0400. Keep it and its backups apart from the folder's. */
  readonly kekFile: string
}

/** What {@link FileKeyStore.erase} did. */
export interface Erasure {
  readonly keyId: string
  /** `unknown`: the subject has no key here, and nothing was done. */
  readonly done: 'erased' | 'was_erased' | 'unknown'
}

/** Makes the folder. @returns false: it has a store already, which was left as it is */
export function createFileKeyStore({ directory, kekFile }: FileKeyStoreOptions): boolean {
  expectPrivate(directory)
  const [kek] = readKeks(kekFile)
  const text = `audit-keys/v1\nids ${wrap(kek, randomBytes(DATA_KEY_BYTES), ABOUT_IDS)}\n`
  return createWhole(join(directory, 'store'), text)
}

/** Opens the folder. @throws InvalidInputError `KEY_INVALID` */
export function openFileKeyStore(options: FileKeyStoreOptions): FileKeyStore {
  expectPrivate(options.directory)
  const path = join(options.directory, 'store')
  const keks = readKeks(options.kekFile)
  const [, wrapped] = STORE.exec(read(path) ?? '') ?? []
  if (wrapped === undefined) {
    const expected = 'expected a folder of data keys; `agent-audit data-keys init` makes one'
    throw new InvalidInputError('KEY_INVALID', `${options.directory}: ${expected}`)
  }
  return new FileKeyStore(options, unwrap(keks, wrapped, ABOUT_IDS, path))
}

/** Other users must not read keys, nor put files or links among them. */
function expectPrivate(directory: string): void {
  const found = statSync(directory, { throwIfNoEntry: false })
  if (found === undefined) return
  const refuse = (message: string): never => {
    throw new InvalidInputError('KEY_INVALID', `${directory}: ${message}`)
  }
  if (!found.isDirectory()) refuse('expected a folder')
  const mode = (found.mode & 0o777).toString(8).padStart(4, '0')
  if ((found.mode & 0o077) !== 0) refuse(`expected mode 0700, found ${mode}: others could read or exchange its keys`)
  const user = process.getuid?.()
  if (user === undefined || found.uid === user || found.uid === 0) return
  refuse(`expected a folder of user ${user}, found one of user ${found.uid}: run as that user`)
}

/** What {@link rotateKek} did. */
export interface Rotation {
  readonly kekId: string
  /** Data keys that were wrapped anew. */
  readonly keys: number
}

/**
 * Wraps all data keys under a new KEK, which takes the place of the old one in its file. Producers and readers go on meanwhile: they
 * read the file again for each key. What a killed call has begun, the next one ends.
 */
export function rotateKek({ directory, kekFile }: FileKeyStoreOptions): Rotation {
  openFileKeyStore({ directory, kekFile })
  const before = readKeks(kekFile)
  // Two lines: a rotation was killed.
  if (before.length === 1) replaceWhole(kekFile, `${newKekLine()}\n${formatKeks(before)}`)
  const keks = readKeks(kekFile)
  const [newest] = keks
  const store = join(directory, 'store')
  const [, wrapped = ''] = STORE.exec(read(store) ?? '') ?? []
  const ids = unwrap(keks, wrapped, ABOUT_IDS, store)
  replaceWhole(store, `audit-keys/v1\nids ${wrap(newest, ids, ABOUT_IDS)}\n`)
  let keys = 0
  for (const { parentPath, name } of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(parentPath, name)
    const text = /^[0-9a-f]{32}\.key$/.test(name) ? read(path) : undefined
    const [, id = '', old = ''] = KEY.exec(text ?? '') ?? []
    if (id === '') continue
    const isNew = old.startsWith(`${newest.id} `)
    if (!isNew && replaceWhole(path, keyText(newest, id, unwrap(keks, old, aboutKey(id), path)))) keys++
    // An erasure may have passed between: it destroyed the file that this one, or a killed one before it, has replaced.
    if (exists(path.replace(/key$/, 'erased'))) destroyFile(path)
  }
  replaceWhole(kekFile, formatKeks([newest]))
  return { kekId: newest.id, keys }
}

/** The keys of one folder. */
export class FileKeyStore implements DataKeyStore {
  readonly #options: FileKeyStoreOptions
  readonly #idSecret: Buffer

  constructor(options: FileKeyStoreOptions, idSecret: Buffer) {
    this.#options = options
    this.#idSecret = idSecret
  }

  keyFor(subject: Subject): DataKey {
    const id = this.#currentId(subject)
    const found = this.find(id)
    return found ?? this.#create(id, subject)
  }

  find(id: string): DataKey | undefined {
    if (!DATA_KEY_ID.test(id)) return undefined
    if (this.isErased(id)) return { id, secret: undefined }
    const path = this.#path(id, 'key')
    const text = read(path)
    try {
      return this.#read(id, path, text)
    } catch (error) {
      // A rotation may have ended between the reads of the two files.
      const again = read(path)
      if (again === text) throw error
      return this.#read(id, path, again)
    }
  }

  #read(id: string, path: string, text: string | undefined): DataKey | undefined {
    if (text === undefined) return this.isErased(id) ? { id, secret: undefined } : undefined
    const [, own, wrapped = ''] = KEY.exec(text) ?? []
    if (own === id) return this.#unwrapped(id, wrapped, path)
    // An eraser may have overwritten it meanwhile.
    if (this.isErased(id)) return { id, secret: undefined }
    throw new InvalidInputError('KEY_INVALID', `${path}: expected a wrapped data key of this id`)
  }

  isErased(id: string): boolean {
    return exists(this.#path(id, 'erased'))
  }

  /** The id of the subject's key, whether it has one or not: what an erased subject is known by. */
  idOf(subject: Subject): string {
    return this.#currentId(subject)
  }

  /** Destroys the key of a subject: tombstone, overwrite, removal. What a killed call has begun, the next one ends. */
  erase(subject: Subject): Erasure {
    const keyId = this.#currentId(subject)
    const key = this.#path(keyId, 'key')
    if (this.isErased(keyId)) {
      destroyFile(key)
      return { keyId, done: 'was_erased' }
    }
    if (!exists(key)) return { keyId, done: 'unknown' }
    createWhole(this.#path(keyId, 'erased'), `audit-erased/v1\nid ${keyId}\ntime ${new Date().toISOString()}\n`)
    destroyFile(key)
    return { keyId, done: 'erased' }
  }

  /** Lets an erased subject have a new key from now on. @returns false: it was not erased */
  admitAgain(subject: Subject): boolean {
    const id = this.#currentId(subject)
    if (!this.isErased(id)) return false
    createWhole(this.#path(id, 'next'), `audit-admitted/v1\nid ${id}\ntime ${new Date().toISOString()}\n`)
    return true
  }

  #create(id: string, subject: Subject): DataKey {
    // The file is read again: a key under a KEK that a rotation has removed could not be opened later.
    const [kek] = readKeks(this.#options.kekFile)
    const store = join(this.#options.directory, 'store')
    // A folder that is not mounted looks like one without keys: nothing must be made in its place.
    if (!exists(store)) throw new AuditUnavailableError('KEY_STORE_UNAVAILABLE', `${store}: there is no such file`)
    const path = this.#path(id, 'key')
    const plain = Buffer.concat([randomBytes(DATA_KEY_BYTES), Buffer.from(`${subject.kind}\n${subject.id}`)])
    const made = createWhole(path, keyText(kek, id, plain))
    // A rotation that began meanwhile may have passed this file before it was there.
    const [newest] = readKeks(this.#options.kekFile)
    if (made && newest.id !== kek.id) replaceWhole(path, keyText(newest, id, plain))
    plain.fill(0)
    if (this.isErased(id)) destroyFile(path)
    // Where another process was first, its key counts.
    const key = this.find(id)
    if (key === undefined) throw new Error(`${path}: the data key was removed right after its creation`)
    return key
  }

  #unwrapped(id: string, wrapped: string, path: string): DataKey {
    const keks: readonly Kek[] = readKeks(this.#options.kekFile)
    const plain = unwrap(keks, wrapped, aboutKey(id), path)
    const [, kind, subjectId = ''] = /^(user|session)\n([^]*)$/.exec(plain.toString('utf8', DATA_KEY_BYTES)) ?? []
    const secret = Buffer.from(plain.subarray(0, DATA_KEY_BYTES))
    plain.fill(0)
    return { id, secret, subject: { kind: kind === 'session' ? 'session' : 'user', id: subjectId } }
  }

  #currentId(subject: Subject): string {
    for (let generation = 0; ; generation++) {
      const id = this.#idOf(subject, generation)
      if (!exists(this.#path(id, 'next'))) return id
    }
  }

  #idOf({ kind, id }: Subject, generation: number): string {
    const hmac = createHmac('sha256', this.#idSecret).update(`audit-subject/v1\n${kind}\n${generation}\n${id}`)
    return hmac.digest('hex').slice(0, 2 * ID_BYTES)
  }

  #path(id: string, suffix: 'key' | 'erased' | 'next'): string {
    return join(this.#options.directory, id.slice(0, 2), `${id}.${suffix}`)
  }
}

function keyText(kek: Kek, id: string, plain: Uint8Array): string {
  return `audit-data-key/v1\nid ${id}\nwrapped ${wrap(kek, plain, aboutKey(id))}\n`
}

function aboutKey(id: string): string {
  return `audit-data-key/v1 ${id}`
}

/** Throws where that cannot be told: a tombstone that cannot be read is not one that is missing. */
function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Undefined: there is no such file. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
