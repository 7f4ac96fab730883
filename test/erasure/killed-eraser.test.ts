/** `agent-audit erase` and `data-keys rotate`, killed before each change of the folder of keys: the next call ends what was begun. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCli } from '@agent-audit/cli'
import { FieldCipher, FieldReader, openFileKeyStore, rotateKek } from '@agent-audit/erasure'
import { expect, it } from 'vitest'
import { sessionRows } from '../producer/support.ts'
import { startPrinting } from '../support/printing-program.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { ANNA, newStore, type TestStore } from './support.ts'

const PROGRAM = fileURLToPath(new URL('killed-eraser.ts', import.meta.url))
const BERT = { kind: 'user', id: 'bert@example.com' } as const
const MOST_CHANGES = 60

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

async function killedAt(nth: number, { options }: TestStore, args: readonly string[], dataDir = ''): Promise<Ended> {
  const program = ['--conditions=agent-audit-source', PROGRAM, options.directory, String(nth), ...args]
  // The log is named by the environment: `erase` has no option for an embedded one.
  const child = startPrinting('/usr/bin/env', [`AUDIT_DATA_DIR=${dataDir}`, process.execPath, ...program])
  return child.exited()
}

function filesIn(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
}

it(
  'an erasure that was killed anywhere leaves a key or none, and the next call ends it',
  { timeout: 300_000 },
  async () => {
    let kills = 0
    for (let nth = 1; nth <= MOST_CHANGES; nth++) {
      const keys = newStore()
      const { options, store } = keys
      const place = {
        runId: 'ab'.repeat(16),
        runSeq: 7,
        eventId: '019b7720-6c45-7641-8eba-d3f3000014ac',
        field: 'output_text',
      }
      const key = store.keyFor(ANNA)
      const other = store.keyFor(BERT)
      const text = new FieldCipher(key, place.runId).encrypt('Lindenweg 4', place)
      const wrapped =
        filesIn(options.directory)
          .map((path) => readFileSync(path, 'utf8'))
          .find((each) => each.includes(key.id)) ?? ''
      const dataDir = makeTempDirectory()
      const args = [
        'erase',
        '--subject',
        ANNA.id,
        '--reason',
        'request 4711',
        '--by',
        'kim',
        '--keys',
        options.directory,
        '--kek',
        options.kekFile,
      ]
      const { signal, code } = await killedAt(nth, keys, args, dataDir)
      const types = (): string[] => sessionRows(dataDir).map(({ event_type: type }) => type)
      if (signal === null) {
        expect(code).toBe(0)
        expect(types()).toContain('subject.erased')
        break
      }
      kills++
      expect(types()).toContain('subject.erasing')
      expect(types()).not.toContain('subject.erased')
      // Whole or gone: read by a reader of the trail and by an agent that starts now.
      const row = {
        run_id: place.runId,
        run_seq: '7',
        event_id: place.eventId,
        output_text: text,
        field_notes: '{"output_text":{"encrypted":true}}',
      }
      new FieldReader(openFileKeyStore(options)).reveal(row)
      expect(['Lindenweg 4', '[erased]']).toContain(row.output_text)
      const isErased = row.output_text === '[erased]'
      expect(openFileKeyStore(options).keyFor(ANNA).secret === undefined).toBe(isErased)

      const out: string[] = []
      const rest = { err: () => {}, env: { AUDIT_DATA_DIR: dataDir }, colors: false }
      expect(await runCli([...args, '--json'], { out: (line) => out.push(line), ...rest })).toBe(0)
      expect(JSON.parse(out.join(''))).toMatchObject({ done: isErased ? 'was_erased' : 'erased' })
      expect(types().filter((type) => type === 'subject.erased')).toHaveLength(1)
      const left = filesIn(options.directory).map((path) => readFileSync(path, 'utf8'))
      expect(left.join()).not.toContain(/wrapped \S+ (\S+)/.exec(wrapped)?.[1] ?? 'none')
      expect(store.find(key.id)).toEqual({ id: key.id, secret: undefined })
      expect(store.find(other.id)).toEqual(other)
    }
    // The tombstone: created, written, flushed, linked, its other name removed; the key: opened, written, flushed, removed.
    expect(kills).toBeGreaterThanOrEqual(9)
  },
)

it(
  'a rotation that was killed anywhere loses no key, brings none back, and the next one ends it',
  { timeout: 300_000 },
  async () => {
    let kills = 0
    for (let nth = 1; nth <= MOST_CHANGES; nth++) {
      const keys = newStore()
      const { options, store } = keys
      const [anna, bert] = [store.keyFor(ANNA), store.keyFor(BERT)]
      const args = ['data-keys', 'rotate', options.directory, '--kek', options.kekFile]
      const { signal } = await killedAt(nth, keys, args)
      if (signal === null) break
      kills++
      expect(openFileKeyStore(options).find(bert.id)).toEqual(bert)
      // An erasure comes between.
      store.erase(ANNA)
      rotateKek(options)
      expect(openFileKeyStore(options).find(anna.id)).toEqual({ id: anna.id, secret: undefined })
      expect(openFileKeyStore(options).find(bert.id)).toEqual(bert)
      expect(
        filesIn(options.directory)
          .filter((path) => path.includes(anna.id))
          .map((path) => path.slice(-7)),
      ).toEqual(['.erased'])
    }
    expect(kills).toBeGreaterThanOrEqual(9)
  },
)

it('a rotation destroys a key that a killed one has put back beside its tombstone', () => {
  const { options, store } = newStore()
  const { id } = store.keyFor(ANNA)
  const old = readFileSync(options.kekFile, 'utf8')
  rotateKek(options)
  const path = filesIn(options.directory).find((each) => each.endsWith(`${id}.key`)) ?? ''
  const wrapped = readFileSync(path, 'utf8')
  store.erase(ANNA)
  // The first rotation was killed right after its rename, and has not seen the tombstone.
  writeFileSync(path, wrapped)
  writeFileSync(options.kekFile, readFileSync(options.kekFile, 'utf8') + old)
  expect(store.find(id)).toEqual({ id, secret: undefined })
  rotateKek(options)
  expect(filesIn(options.directory).join()).not.toContain('.key')
})
