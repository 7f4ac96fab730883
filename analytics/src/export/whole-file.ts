/** A file that appears under its name once it is whole. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What a file is. */
export interface FileDigest {
  readonly bytes: number
  readonly sha256: string
}

/** What becomes a file. */
export interface FileContent {
  readonly content: AsyncIterable<Buffer> | Iterable<Buffer>
  /** Where it grows, in the same file system. @defaultValue `<target>.<random>.partial` */
  readonly unfinished?: string
  /** @defaultValue 0o666, less the umask of the process */
  readonly mode?: number
  /** Looks at the finished file before it gets its name; false: it gets none. */
  readonly accept?: (unfinished: string) => Promise<boolean> | boolean
}

/**
 * Writes a file that is there whole or not at all, also after loss of power: the data is on the disk before the name is, and
 * the name before this returns. A file of that name is replaced; folders that are missing are made.
 * @returns undefined if it was not accepted.
 */
export async function writeWhole(
  target: string,
  { content, unfinished = `${target}.${randomUUID()}.partial`, mode, accept = () => true }: FileContent,
): Promise<FileDigest | undefined> {
  await mkdir(dirname(unfinished), { recursive: true })
  try {
    const digest = await writeSynced(unfinished, content, mode)
    if (!(await accept(unfinished))) return undefined
    const made = await mkdir(dirname(target), { recursive: true })
    await rename(unfinished, target)
    await syncUpwards(dirname(target), made === undefined ? dirname(target) : dirname(made))
    return digest
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function writeSynced(path: string, content: FileContent['content'], mode?: number): Promise<FileDigest> {
  const hash = createHash('sha256')
  let bytes = 0
  const file = await open(path, 'wx', mode)
  try {
    for await (const chunk of content) {
      hash.update(chunk)
      bytes += chunk.length
      await file.writeFile(chunk)
    }
    await file.sync()
  } finally {
    await file.close()
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** A name is on the disk once its folder is: the new folders, and the one that they are in. */
async function syncUpwards(from: string, to: string): Promise<void> {
  for (let path = from; ; path = dirname(path)) {
    const folder = await open(path)
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
    if (path === to || path === dirname(path)) return
  }
}
