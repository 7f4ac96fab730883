/** Sinks that are files: what a crash or an attacker leaves in them, and that other tools can read the tiles. */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FileSink, type SignedCheckpoint } from '@agent-audit/notary'
import { checkpointLine, leafHash, MerkleTree, readCheckpointLine, signCheckpoint } from '@agent-audit/seals'
import { expect, it, onTestFinished } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { newSigner } from './support.ts'

const signer = newSigner('notary-1')

function checkpointOf(size: number): SignedCheckpoint {
  const tree = new MerkleTree()
  for (let index = 0; index < size; index += 1) tree.append(leafHash(`leaf ${index}`))
  const checkpoint = { origin: 'log', size, root: tree.root() }
  return { ...checkpoint, seconds: 1_795_000_000, note: signCheckpoint(signer, checkpoint, 1_795_000_000) }
}

const [three, five, nine] = [checkpointOf(3), checkpointOf(5), checkpointOf(9)]

function open(path: string): { sink: FileSink; torn: [number, number][] } {
  const torn: [number, number][] = []
  const sink = new FileSink({ path, onTorn: (lines, first) => torn.push([lines, first]) })
  onTestFinished(() => sink.close())
  return { sink, torn }
}

it('a line for each checkpoint is appended, and the largest is the newest', async () => {
  const path = join(makeTempDirectory(), 'checkpoints')
  const { sink } = open(path)
  expect(await sink.newest()).toEqual([])
  for (const checkpoint of [three, nine]) await sink.put(checkpoint)
  // An attacker who may append shows the old one last.
  appendFileSync(path, checkpointLine(five.note))
  expect(
    readFileSync(path, 'utf8')
      .split('\n')
      .map((line) => readCheckpointLine(line)?.size),
  ).toEqual([3, 9, 5, undefined])
  expect(await open(path).sink.newest()).toEqual([nine.note, five.note, three.note])
})

it('a torn last line is ended by the next append, and counts for nothing, wherever it was torn', async () => {
  const line = checkpointLine(five.note)
  for (let length = 0; length <= line.length; length += 1) {
    const path = join(makeTempDirectory(), 'checkpoints')
    const before = checkpointLine(three.note) + line.slice(0, length)
    writeFileSync(path, before)
    const { sink, torn } = open(path)
    const whole = length >= line.length - 1
    const cut = length > 0 && !whole
    expect(await sink.newest()).toEqual(whole ? [five.note, three.note] : [three.note])
    expect(torn).toEqual(cut ? [[1, 2]] : [])
    await sink.put(nine)
    const after = readFileSync(path, 'utf8')
    expect(after.startsWith(before)).toBe(true)
    expect(after.endsWith(`\n${checkpointLine(nine.note)}`)).toBe(true)
    expect(await sink.newest()).toEqual(whole ? [nine.note, five.note, three.note] : [nine.note, three.note])
    await sink.close()
  }
})

it('what is no file is refused', async () => {
  const path = join(makeTempDirectory(), 'folder')
  mkdirSync(path)
  await expect(open(path).sink.put(three)).rejects.toThrow(/EISDIR/)
})
