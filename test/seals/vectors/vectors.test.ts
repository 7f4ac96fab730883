/** The conformance vectors are what this code writes, and it reads them as they say. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { readRecord } from '@agent-audit/seals/evidence'
import {
  applyRotation,
  formatConsumerSeal,
  formatProducerSeal,
  formatTrust,
  hashesOfTiles,
  keyFaultAt,
  leafHash,
  MerkleTree,
  noteHash,
  openTrust,
  parseConsumerSeal,
  parseEntries,
  parseNote,
  parseProducerSeal,
  parseTilePath,
  parseTrust,
  rootOf,
  tilePath,
  VerifierKey,
  verifyCheckpoint,
  verifyConsistency,
  verifyInclusion,
  verifyNote,
  verifyTlogProof,
} from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { writeVectors } from './write-vectors.ts'

const VECTORS = fileURLToPath(new URL('../../../seals/vectors', import.meta.url))

interface Malformed {
  readonly what: string
  readonly text: string
}
/** A seal, with what the next one names. */
interface SealCase {
  readonly text: string
  readonly note: string
  /** Of a producer: of the note. */
  readonly hash?: string
  /** Of a consumer. */
  readonly textHash?: string
}

interface SealFile {
  readonly vkey: string
  readonly seals: readonly SealCase[]
  readonly malformed: readonly Malformed[]
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../../seals/vectors/${name}`, import.meta.url), 'utf8'))
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'base64')
}

function fromHex(text: string): Buffer {
  return Buffer.from(text, 'hex')
}

function digestOf(rows: readonly string[]): string {
  return createHash('sha256')
    .update(Buffer.concat(rows.map(fromHex)))
    .digest('base64')
}

const refused = expect.objectContaining({ code: 'SEAL_INVALID' })

it('each file is what `npm run vectors` writes, byte for byte, and there is no other one', () => {
  const directory = makeTempDirectory()
  writeVectors(directory)
  const config = fileURLToPath(new URL('../../../.oxfmtrc.json', import.meta.url))
  execFileSync('oxfmt', ['-c', config, '.'], { cwd: directory, env: withTools() })
  expect(filesOf(VECTORS)).toEqual(filesOf(directory))
  const changed = filesOf(directory).filter((file) => {
    return !readFileSync(join(VECTORS, file)).equals(readFileSync(join(directory, file)))
  })
  expect(changed).toEqual([])
})

it('are no part of the package', () => {
  const { files } = JSON.parse(readFileSync(join(VECTORS, '..', 'package.json'), 'utf8')) as { files: string[] }
  // Patterns that leave out something of it are no matter.
  expect(files.filter((each) => !each.startsWith('!'))).toEqual(['dist'])
})

function filesOf(directory: string): string[] {
  const found = readdirSync(directory, { recursive: true, withFileTypes: true })
  return found
    .filter((each) => each.isFile())
    .map((each) => relative(directory, join(each.parentPath, each.name)))
    .toSorted()
}

function withTools(): NodeJS.ProcessEnv {
  const tools = fileURLToPath(new URL('../../../node_modules/.bin', import.meta.url))
  return { ...process.env, PATH: `${tools}:${process.env['PATH'] ?? ''}` }
}

describe.each([
  [
    'producer-seals.json',
    (text: string) => formatProducerSeal(parseProducerSeal(text)),
    ({ note, hash = '' }: SealCase) => [noteHash(note).toString('base64'), hash],
  ],
  [
    'consumer-seals.json',
    (text: string) => formatConsumerSeal(parseConsumerSeal(text)),
    ({ text, textHash = '' }: SealCase) => [createHash('sha256').update(text).digest('base64'), textHash],
  ],
] as const)('%s', (name, again, hashOf) => {
  const { vkey, seals, malformed } = read(name) as SealFile

  it('seals are read, signed by the key, and linked', () => {
    let prev = 'none'
    for (const seal of seals) {
      const { text, note } = seal
      const [found, said] = hashOf(seal)
      expect(again(text)).toBe(text)
      expect(verifyNote(note, [VerifierKey.parse(vkey)]).text).toBe(text)
      expect(found).toBe(said)
      expect(text).toContain(`\nprev ${prev}\n`)
      prev = `sha256 ${said}`
    }
  })

  it.each(malformed)('$what is refused', ({ text }) => {
    expect(seals.map((seal) => seal.text)).not.toContain(text)
    expect(() => again(text)).toThrow(refused)
  })
})

describe('notes.json', () => {
  type Case = { readonly what: string; readonly note: string }
  const file = read('notes.json') as { keys: string[]; valid: Case[]; wrong: Case[]; malformed: Case[] }
  const keys = file.keys.map((vkey) => VerifierKey.parse(vkey))

  it.each(file.valid)('$what verifies', ({ note }) => {
    expect(verifyNote(note, keys).verified.length).toBeGreaterThan(0)
  })

  it.each(file.wrong)('$what does not verify', ({ note }) => {
    expect(() => verifyNote(note, keys)).toThrow(expect.objectContaining({ code: 'SIGNATURE_INVALID' }))
  })

  it.each(file.malformed)('$what is refused', ({ note }) => {
    expect(() => parseNote(note)).toThrow(refused)
  })
})

it('keys.json: malformed keys are refused', () => {
  const { keys, malformed } = read('keys.json') as { keys: { vkey: string }[]; malformed: { vkey: string }[] }
  expect(keys.map(({ vkey }) => VerifierKey.parse(vkey).vkey)).toEqual(keys.map(({ vkey }) => vkey))
  for (const { vkey } of malformed) expect(() => VerifierKey.parse(vkey)).toThrow(refused)
})

it('records.json: records come back from their bytes, whatever frames them, and from the rows', () => {
  const file = read('records.json') as {
    records: {
      schema: string
      fields: Record<string, unknown>
      record: string
      single_object: string
      registry: string
      leaf: string
      row: { bytes: string }
    }[]
    events: { count: number; digest: string }
    skipped_rows: { kind: string; bytes: string }[]
    skipped: { count: number; digest: string }
  }
  for (const { schema, fields, record, single_object: framed, registry, leaf, row } of file.records) {
    const version = SCHEMA_VERSIONS.find(({ fingerprint }) => fingerprint === BigInt(`0x${schema}`))
    const decoded = version?.avroType.fromBuffer(fromHex(record)) as Record<string, unknown>
    for (const [name, value] of Object.entries(fields)) {
      const found = decoded[name]
      expect(
        found instanceof Uint8Array ? Buffer.from(found).toString('hex') : Object.is(found, -0) ? '-0' : found,
      ).toBe(value)
    }
    expect([framed.slice(20), registry.slice(10), leafHash(fromHex(record)).toString('hex')]).toEqual([
      record,
      record,
      leaf,
    ])
    expect(readRecord(fromHex(framed), 0).leaf.toString('hex')).toBe(leaf)
    expect(row.bytes.startsWith(record)).toBe(true)
  }
  expect(file.events).toEqual({ count: 2, digest: digestOf(file.records.map(({ row }) => row.bytes)) })
  expect(file.skipped).toEqual({ count: 3, digest: digestOf(file.skipped_rows.map(({ bytes: row }) => row)) })
})

it('trees.json: each proof shows what it says', () => {
  type Inclusion = { index: number; size: number; proof: string[] }
  type Consistency = { from: number; to: number; proof: string[] }
  const file = read('trees.json') as {
    leaf_hashes: string[]
    roots: string[]
    inclusion: Inclusion[]
    consistency: Consistency[]
  }
  const rootAt = (size: number): Buffer => bytes(file.roots[size] ?? '')
  for (const { index, size, proof } of file.inclusion) {
    const leaf = bytes(file.leaf_hashes[index] ?? '')
    expect(verifyInclusion({ index, size, leafHash: leaf, root: rootAt(size), proof: proof.map(bytes) })).toBe(true)
  }
  for (const { from, to, proof } of file.consistency) {
    expect(verifyConsistency({ from, to, oldRoot: rootAt(from), newRoot: rootAt(to), proof: proof.map(bytes) })).toBe(
      true,
    )
  }
  expect([file.inclusion.length, file.consistency.length]).toEqual([66, 78])
})

it('log.json: checkpoints, tiles, bundles and proof belong to one log', () => {
  const log = read('log.json') as {
    notary: string
    witness: string
    notes: string[]
    checkpoints: { size: number; root: string; seconds: number; note: string }[]
    forked_checkpoint: string
    cut: { notes: string[]; checkpoint: string }
    tlog_proof: { index: number; proof: string }
    tiles: { path: string; hex: string }[]
    bundles: { path: string; hex: string }[]
  }
  const keys = { log: [VerifierKey.parse(log.notary)], witnesses: [VerifierKey.parse(log.witness)] }
  const stored = new Map(log.tiles.map(({ path, hex }) => [path, Buffer.from(hex, 'hex')]))
  const size = log.notes.length
  const hashes = hashesOfTiles(size, (tile) => stored.get(tilePath(tile)) ?? Buffer.alloc(0))
  for (const each of log.checkpoints) {
    const checkpoint = verifyCheckpoint(each.note, keys)
    expect(checkpoint).toMatchObject({ size: each.size, root: bytes(each.root), seconds: each.seconds })
    expect(rootOf(hashes, each.size)).toEqual(checkpoint.root)
  }
  const fork = verifyCheckpoint(log.forked_checkpoint, keys)
  expect(rootOf(hashes, fork.size)).not.toEqual(fork.root)
  // Of a log without its end, no tree has the size of the checkpoint.
  const cut = new MerkleTree()
  for (const each of log.cut.notes) cut.append(leafHash(each))
  expect(cut.size).toBeLessThan(verifyCheckpoint(log.cut.checkpoint, keys).size)
  expect(cut.root()).toEqual(rootOf(hashes, cut.size))
  const entries = log.bundles.flatMap(({ path, hex }) =>
    parseEntries(Buffer.from(hex, 'hex'), parseTilePath(path).width),
  )
  expect(entries.map(String)).toEqual(log.notes)
  const { index, proof } = log.tlog_proof
  expect(verifyTlogProof(proof, leafHash(log.notes[index] ?? ''), keys).size).toBe(size)
})

describe('trust.json', () => {
  const file = read('trust.json') as {
    text: string
    root: string
    signed: string
    windows: { vkey: string; time: string; fault: string | null }[]
    rotation: { note: string; overlap_days: number; trust_after: string }
    malformed: Malformed[]
  }
  const trust = parseTrust(file.text)

  it('keys count in their windows, and a rotation changes them', () => {
    expect(openTrust(file.signed, VerifierKey.parse(file.root))).toEqual({ ...trust, signature: 'checked' })
    for (const { vkey, time, fault } of file.windows) {
      const trusted = trust.keys.filter(({ key }) => key.vkey === vkey)
      expect(trusted.map((each) => keyFaultAt(each, Date.parse(time)) ?? null)).toEqual([fault])
    }
    const { note, overlap_days: days, trust_after: after } = file.rotation
    expect(formatTrust(applyRotation(trust, note, days * 86_400_000))).toBe(after)
  })

  it.each(file.malformed)('$what is refused', ({ text }) => {
    expect(text).not.toBe(file.text)
    expect(() => parseTrust(text)).toThrow(refused)
  })
})
