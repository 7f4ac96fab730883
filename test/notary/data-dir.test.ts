/** `agent-audit notary --data-dir` on an embedded trail: its log, its store and its user are those of the directory. */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import {
  generateKey,
  leafHash,
  MerkleTree,
  readCheckpointLine,
  signerFromPem,
  verifyCheckpoint,
} from '@agent-audit/seals'
import { openEmbeddedLog } from '@agent-audit/spool'
import { expect, it, onTestFinished } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { newSigner, producerNote } from './support.ts'

const store = await openStore()
const producer = newSigner('agent')
const notes = Array.from({ length: 9 }, (_, number) => producerNote(producer, number))

it('signs the seals of an embedded log, goes on after a restart, and needs no server', async () => {
  const [pem, directory] = [generateKey('notary-1'), makeTempDirectory()]
  const [keyFile, file] = [join(directory, 'notary.key'), join(directory, 'checkpoints')]
  writeFileSync(keyFile, pem, { mode: 0o600 })
  const log = openEmbeddedLog({ directory: store.dataDir.logDir })
  log.createTopic('audit.events.seals', 1)
  onTestFinished(() => log.close())
  const append = (values: readonly Buffer[]): void =>
    void log.append(
      'audit.events.seals',
      0,
      values.map((value) => ({ key: Buffer.from('key'), value })),
    )
  const run = (): { stop: () => Promise<number> } => {
    const stopping = new AbortController()
    const path = dirname(store.dataDir.logDir)
    const code = runCli(['notary', '--data-dir', path, '--key', keyFile, '--file', file], {
      out: () => undefined,
      err: () => undefined,
      env: {},
      colors: false,
      interrupted: () => stopping.signal,
    })
    const stop = (): Promise<number> => {
      stopping.abort()
      return code
    }
    onTestFinished(async () => void (await stop()))
    return { stop }
  }
  const newest = (): { size: number; root: Buffer } => {
    const line = readFileSync(file, 'utf8').split('\n').at(-2) ?? ''
    return verifyCheckpoint(readCheckpointLine(line)?.note ?? '', { log: [signerFromPem(pem).key] })
  }
  const sizeOf = (): number | undefined => {
    try {
      return newest().size
    } catch {
      return undefined
    }
  }
  append(notes.slice(0, 4))
  const first = run()
  await expect.poll(sizeOf).toBe(4)
  expect(await first.stop()).toBe(0)
  append(notes.slice(2))
  const second = run()
  await expect.poll(sizeOf).toBe(9)
  expect(await second.stop()).toBe(0)
  const tree = new MerkleTree()
  for (const note of notes) tree.append(leafHash(note))
  expect(newest().root.toString('hex')).toBe(tree.root().toString('hex'))
})
