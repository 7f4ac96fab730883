/** Never one nonce for two texts under one key: across processes, restarts, restored folders, and clones of a process. */
import { chmodSync, cpSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FieldCipher } from '@agent-audit/erasure'
import { expect, it, vi } from 'vitest'
import { readRows } from '../producer/support.ts'
import { startPrinting } from '../support/printing-program.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { ANNA, newStore } from './support.ts'

/** A snapshot of a virtual machine is started twice: both processes draw the same bytes. */
const clone = vi.hoisted(() => ({ isOne: false }))
vi.mock(import('node:crypto'), async (original) => {
  const real = await original()
  const randomBytes = ((size: number) => (clone.isOne ? Buffer.alloc(size, 7) : real.randomBytes(size))) as never
  return { ...real, randomBytes }
})

const TEXTS = 100

/** 12 bytes, as Base64 begins with them. */
function nonceOf(encrypted: string): string {
  return encrypted.split(':')[3]?.slice(0, 16) ?? ''
}

const PROGRAM = fileURLToPath(new URL('recording-program.ts', import.meta.url))

it(
  'two processes of one subject, a restart and a restored folder have keys of their own',
  { timeout: 180_000 },
  async () => {
    const { options, store } = newStore()
    const { id } = store.keyFor(ANNA)
    const restored = join(dirname(options.directory), 'restored')
    cpSync(options.directory, restored, { recursive: true })
    // The copy has the modes of a new folder.
    chmodSync(restored, 0o700)
    const run = async (directory: string): Promise<string> => {
      const dataDir = makeTempDirectory()
      const args = [
        '--conditions=agent-audit-source',
        PROGRAM,
        dataDir,
        directory,
        options.kekFile,
        ANNA.id,
        String(TEXTS),
      ]
      expect(await startPrinting(process.execPath, args).exited()).toMatchObject({ code: 0, stderr: '' })
      return dataDir
    }
    const atOnce = await Promise.all([run(options.directory), run(options.directory)])
    const dataDirs = [...atOnce, await run(options.directory), await run(restored)]
    const rows = dataDirs.flatMap((dataDir) =>
      readRows(dataDir).filter(({ event_type: type }) => type === 'final_output'),
    )
    expect(rows).toHaveLength(dataDirs.length * TEXTS)
    // All under the one data key, and under four keys that follow from it and the run.
    expect(new Set(rows.map(({ output_text: text }) => String(text).split(':')[2]))).toEqual(new Set([id]))
    expect(new Set(rows.map(({ run_id: runId }) => runId)).size).toBe(dataDirs.length)
    const nonces = rows.map(({ output_text: text }) => nonceOf(String(text)))
    expect(new Set(nonces).size).toBe(rows.length)
  },
)

it('clones of a process that draw the same random bytes have different nonces for different texts', () => {
  const place = {
    runId: 'ab'.repeat(16),
    runSeq: 7,
    eventId: '019b7720-6c45-7641-8eba-d3f3000014ac',
    field: 'output_text',
  }
  clone.isOne = true
  const key = { id: 'cd'.repeat(16), secret: Buffer.alloc(32, 1) }
  const encrypted = (text: string, of: Partial<typeof place> = {}): string => {
    const cipher = new FieldCipher(key, place.runId)
    const whole = cipher.encrypt(text, { ...place, ...of })
    expect(cipher.decrypt(whole, { ...place, ...of })).toBe(text)
    return whole
  }
  const all = [encrypted('of one clone'), encrypted('of the other'), encrypted('of one clone', { runSeq: 8 })]
  expect(new Set(all.map(nonceOf)).size).toBe(all.length)
})
