/** Files that are whole or not there, and files that are destroyed. */
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

/**
 * Creates a file with this text, on the disk when it returns; one that exists stays as it is. The name appears with the whole text:
 * another process never reads a part.
 * @returns false: it exists
 */
export function createWhole(path: string, text: string): boolean {
  const temporary = writeBeside(path, text)
  try {
    linkSync(temporary, path)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    // Destroyed, with what this call had written.
    if (codeOf(error) === 'ENOENT') return false
    throw error
  } finally {
    removeIfThere(temporary)
  }
  syncFolder(dirname(path))
  return true
}

/** Puts this text in the place of a file's, which keeps its owner. @returns false: the file is destroyed meanwhile */
export function replaceWhole(path: string, text: string): boolean {
  const { uid, gid } = statSync(path)
  const temporary = writeBeside(path, text)
  try {
    if (process.getuid?.() === 0) chownSync(temporary, uid, gid)
    renameSync(temporary, path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    removeIfThere(temporary)
    throw error
  }
  syncFolder(dirname(path))
  return true
}

function writeBeside(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}`)
  const file = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return temporary
}

/** Overwrites a file with zeros and removes it, along with what a killed {@link createWhole} left of it. Without a file: nothing. */
export function destroyFile(path: string): void {
  const [folder, name] = [dirname(path), basename(path)]
  if (!existsSync(folder)) return
  for (const each of readdirSync(folder)) {
    if (each === name || each.startsWith(`.${name}.`)) overwriteAndRemove(join(folder, each))
  }
  syncFolder(folder)
}

function overwriteAndRemove(path: string): void {
  let file: number
  try {
    // What a link leads to is no file of the folder: it must not be overwritten.
    file = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    if (codeOf(error) === 'ELOOP') return removeIfThere(path)
    throw error
  }
  try {
    writeSync(file, Buffer.alloc(fstatSync(file).size), 0, undefined, 0)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  removeIfThere(path)
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
