/** The seal log as other tools read it: checkpoints, tiles, bundles and proofs that need no server. */
import { createPrivateKey } from 'node:crypto'
import {
  bundlesBetween,
  CompactRange,
  consistencyProofOf,
  EMPTY_ROOT,
  formatCheckpoint,
  formatEntries,
  formatNote,
  formatTile,
  formatTlogProof,
  hashesOfTiles,
  inclusionProofOf,
  KeySigner,
  leafHash,
  MerkleTree,
  parseCheckpoint,
  parseEntries,
  parseTilePath,
  parseTlogProof,
  rootOf,
  signCheckpoint,
  type Tile,
  tilePath,
  tilesBetween,
  tilesRead,
  VerifierKey,
  verifyCheckpoint,
  verifyTlogProof,
} from '@agent-audit/seals'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'

function keyOf(name: string, seed: number): KeySigner {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)])
  return new KeySigner(name, createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
}

const ORIGIN = 'audit.example/seals'
const notary = keyOf('notary-1', 1)
const witness = keyOf('witness.example/w1', 2)
const SECONDS = 1_795_000_000
const keys = { log: [notary.key], witnesses: [witness.key.cosigner] }

function treeOf(size: number): MerkleTree {
  const tree = new MerkleTree()
  for (let index = 0; index < size; index += 1) tree.append(leafHash(`leaf ${index}`))
  return tree
}

describe('a checkpoint', () => {
  const tree = treeOf(20)
  const checkpoint = { origin: ORIGIN, size: 20, root: tree.root() }
  const note = signCheckpoint(notary, checkpoint, SECONDS)

  it('the example of tlog-cosignature is read', () => {
    const text = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'
    const parsed = parseCheckpoint(text)
    expect(parsed).toMatchObject({ origin: 'example.com/behind-the-sofa', size: 20_852_163 })
    expect(formatCheckpoint(parsed)).toBe(text)
  })

  it('is signed twice by the notary: the text, and the text with a time', () => {
    expect(note.split('\n')).toEqual([
      ORIGIN,
      '20',
      tree.root().toString('base64'),
      '',
      expect.stringMatching(/^— notary-1 /),
      expect.stringMatching(/^— notary-1 /),
      '',
    ])
    expect(verifyCheckpoint(note, keys)).toEqual({ ...checkpoint, key: notary.key, seconds: SECONDS, witnesses: [] })
  })

  it('a witness is told apart from the notary, and alone counts for nothing', () => {
    const text = formatCheckpoint(checkpoint)
    const line = witness.cosignatureLine(text, SECONDS + 5)
    expect(verifyCheckpoint(note + line, keys).witnesses).toEqual([{ key: keys.witnesses[0], seconds: SECONDS + 5 }])
    expect(verifyCheckpoint(formatNote(text, [notary.signatureLine(text)]), keys).seconds).toBeUndefined()
    expect(() => verifyCheckpoint(formatNote(text, [line]), keys)).toThrow(
      'checkpoint: no notary of the log has signed it',
    )
    const moved = `${note}${witness.cosignatureLine(text.replace('20', '21'), SECONDS)}`
    expect(() => verifyCheckpoint(moved, keys)).toThrow('the signature by "witness.example/w1"')
  })

  const root = tree.root().toString('base64')
  it.each([
    ['no size', `${ORIGIN}\n`, 'line 2: expected the size of the tree, found the end'],
    ['a size with a zero before it', `${ORIGIN}\n020\n${root}\n`, 'line 2: expected the size of the tree'],
    ['a short root', `${ORIGIN}\n20\nAAAA\n`, 'line 3: expected the root, Base64 of 32 bytes'],
    ['an extension line', `${ORIGIN}\n20\n${root}\nmore\n`, 'line 4: expected no further line, found "more"'],
    ['an empty origin', `\n20\n${root}\n`, 'line 1: expected the origin of the log'],
    ['the head of a cosignature as origin', `cosignature/v1\n20\n${root}\n`, 'line 1: expected the origin of the log'],
    ['no line feed at its end', `${ORIGIN}\n20\n${root}`, 'checkpoint: expected a line feed at its end'],
  ])('%s is refused', (_, text, message) => {
    expect(() => parseCheckpoint(text)).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
    )
  })

  it.each([{ origin: 'a b' }, { origin: 'cosignature/v1' }, { size: -1 }, { root: Buffer.alloc(31) }])(
    '%j is not signed',
    (change) => {
      expect(() => signCheckpoint(notary, { ...checkpoint, ...change }, SECONDS)).toThrow('checkpoint: expected ')
    },
  )
})

describe('a compact range', () => {
  it('has the roots of the tree, and goes on from its hashes', () => {
    const tree = treeOf(300)
    let range = new CompactRange()
    expect(range.root()).toEqual(EMPTY_ROOT)
    for (let index = 0; index < 300; index += 1) {
      range.append(leafHash(`leaf ${index}`))
      if (index % 7 === 0) range = CompactRange.from(range.size, range.hashes())
      expect(range.root()).toEqual(tree.root(index + 1))
    }
    expect(range.hashes()).toHaveLength(4)
    expect(() => CompactRange.from(300, range.hashes().slice(1))).toThrow('expected 4 hashes for size 300, found 3')
    expect(() => range.append(Buffer.alloc(33))).toThrow('expected a hash of 32 bytes')
  })
})

describe('tiles', () => {
  it('their paths are those of tlog-tiles', () => {
    const paths: [Tile, string][] = [
      [{ level: 0, index: 1_234_067, width: 256 }, 'tile/0/x001/x234/067'],
      [{ level: 0, index: 0, width: 1 }, 'tile/0/000.p/1'],
      [{ level: 1, index: 999, width: 255 }, 'tile/1/999.p/255'],
      [{ level: 2, index: 1_000, width: 256 }, 'tile/2/x001/000'],
      [{ level: 'entries', index: 67, width: 17 }, 'tile/entries/067.p/17'],
    ]
    expect(paths.map(([tile]) => tilePath(tile))).toEqual(paths.map(([, path]) => path))
    expect(paths.map(([, path]) => parseTilePath(path))).toEqual(paths.map(([tile]) => tile))
  })

  it.each([
    '',
    'tile/0/1',
    'tile/0/1234',
    'tile/0/x000/001',
    'tile/00/001',
    'tile/64/001',
    'tile/0/001.p/0',
    'tile/0/001.p/256',
    'tile/0/001.p/01',
    'tile/a/001',
    'tile/0/001/002',
    '/tile/0/001',
    'tile/0/../001',
  ])('the path %j is refused', (path) => {
    expect(() => parseTilePath(path)).toThrow('expected the path of a tile, such as "tile/0/x001/067.p/5"')
  })

  it('a tree of 70,000 leaves has those that tlog-tiles counts', () => {
    const tiles = tilesBetween(0, 70_000)
    const full = tiles.filter(({ width }) => width === 256).map(({ level }) => level)
    expect([full.filter((level) => level === 0).length, full.filter((level) => level === 1).length]).toEqual([273, 1])
    expect(tiles.filter(({ width }) => width < 256).map(tilePath)).toEqual([
      'tile/0/273.p/112',
      'tile/1/001.p/17',
      'tile/2/000.p/1',
    ])
    expect(tilesBetween(0, 256).map(tilePath)).toEqual(['tile/0/000', 'tile/1/000.p/1'])
    expect(tilesBetween(0, 0)).toEqual([])
  })

  it('growth touches the tiles that it widens, and no other', () => {
    expect(tilesBetween(5, 5)).toEqual([])
    expect(tilesBetween(5, 7).map(tilePath)).toEqual(['tile/0/000.p/7'])
    expect(tilesBetween(250, 520).map(tilePath)).toEqual([
      'tile/0/000',
      'tile/0/001',
      'tile/0/002.p/8',
      'tile/1/000.p/2',
    ])
    expect(tilesBetween(256, 257).map(tilePath)).toEqual(['tile/0/001.p/1'])
    expect(bundlesBetween(250, 257).map(tilePath)).toEqual(['tile/entries/000', 'tile/entries/001.p/1'])
  })

  const SIZE = 66_000
  const tree = new MerkleTree()
  const stored = new Map<string, Buffer>()
  const read = (tile: Tile): Buffer => stored.get(tilePath(tile)) ?? Buffer.alloc(0)
  beforeAll(() => {
    for (let index = 0; index < SIZE; index += 1) tree.append(leafHash(`leaf ${index}`))
    for (const size of [SIZE - 300, SIZE]) {
      for (const tile of tilesBetween(0, size))
        stored.set(
          tilePath(tile),
          formatTile((level, at) => tree.subtree(level, at), tile),
        )
    }
  })

  it('give the root and the proofs of the tree', () => {
    fc.assert(
      fc.property(fc.constantFrom(SIZE - 300, SIZE), fc.nat(), fc.nat(), (size, one, other) => {
        const hashes = hashesOfTiles(size, read)
        expect(rootOf(hashes, size)).toEqual(tree.root(size))
        expect(inclusionProofOf(hashes, one % size, size)).toEqual(tree.inclusionProof(one % size, size))
        const from = other % (size + 1)
        expect(consistencyProofOf(hashes, from, size)).toEqual(tree.consistencyProof(from, size))
      }),
      { numRuns: 30 },
    )
  })

  it('those that a proof reads are known before it is made', () => {
    const needed = tilesRead(SIZE, (hashes) => inclusionProofOf(hashes, 12_345, SIZE))
    expect(needed.map(tilePath).toSorted()).toEqual(['tile/0/048', 'tile/0/257.p/208', 'tile/1/000', 'tile/1/001.p/1'])
    const some = new Map(needed.map((tile) => [tilePath(tile), read(tile)]))
    const hashes = hashesOfTiles(SIZE, (tile) => some.get(tilePath(tile)) ?? Buffer.alloc(0))
    expect(inclusionProofOf(hashes, 12_345, SIZE)).toEqual(tree.inclusionProof(12_345, SIZE))
  })

  it('a tile of another length is refused', () => {
    const hashes = hashesOfTiles(SIZE, (tile) => read(tile).subarray(1))
    expect(() => rootOf(hashes, SIZE)).toThrow('tile/2/000.p/1: expected 32 bytes, found 31')
  })
})

describe('a bundle of entries', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (entries) => {
        const given = entries.map((entry) => Buffer.from(entry))
        expect(parseEntries(formatEntries(given), given.length)).toEqual(given)
      }),
    )
  })

  it('is refused cut, extended, or with an entry that is too large', () => {
    const bytes = formatEntries([Buffer.from('ab'), Buffer.from('c')])
    expect(bytes.toString('hex')).toBe('00026162000163')
    expect(() => parseEntries(bytes.subarray(0, 6), 2)).toThrow('entry bundle: it ends in entry 1')
    expect(() => parseEntries(bytes.subarray(0, 5), 2)).toThrow('entry bundle: it ends in entry 1')
    expect(() => parseEntries(bytes.subarray(0, 4), 2)).toThrow('entry bundle: expected 2 entries, found 1')
    expect(() => parseEntries(bytes, 1)).toThrow('entry bundle: expected 1 entries, found 2')
    expect(() => formatEntries([Buffer.alloc(65_536)])).toThrow('expected at most 65535 bytes an entry')
  })
})

describe('a tlog proof', () => {
  const tree = treeOf(20)
  const checkpoint = signCheckpoint(notary, { origin: ORIGIN, size: 20, root: tree.root() }, SECONDS)
  const given = { index: 11, proof: tree.inclusionProof(11), checkpoint }
  const text = formatTlogProof(given)

  it('has the form of c2sp.org/tlog-proof and verifies', () => {
    expect(text.split('\n').slice(0, 3)).toEqual([
      'c2sp.org/tlog-proof@v1',
      'index 11',
      given.proof[0]?.toString('base64'),
    ])
    expect(text.endsWith(`\n\n${checkpoint}`)).toBe(true)
    expect(parseTlogProof(text)).toEqual(given)
    expect(verifyTlogProof(text, leafHash('leaf 11'), keys)).toMatchObject({ size: 20, seconds: SECONDS })
    const extra = { ...given, extra: Buffer.from('more') }
    expect(formatTlogProof(extra)).toContain('\nextra bW9yZQ==\nindex 11\n')
    expect(parseTlogProof(formatTlogProof(extra))).toEqual(extra)
  })

  it('of a tree with one leaf has no hashes', () => {
    const one = treeOf(1)
    const note = signCheckpoint(notary, { origin: ORIGIN, size: 1, root: one.root() }, SECONDS)
    const short = formatTlogProof({ index: 0, proof: [], checkpoint: note })
    expect(verifyTlogProof(short, leafHash('leaf 0'), keys).size).toBe(1)
  })

  it('shows no other leaf, index, or log', () => {
    expect(() => verifyTlogProof(text, leafHash('leaf 12'), keys)).toThrow(
      'it does not show the leaf at index 11 of 20 leaves',
    )
    expect(() => verifyTlogProof(text.replace('index 11', 'index 12'), leafHash('leaf 11'), keys)).toThrow(
      'it does not show',
    )
    const stranger = { log: [new VerifierKey('notary-1', witness.key.publicKey)] }
    expect(() => verifyTlogProof(text, leafHash('leaf 11'), stranger)).toThrow('no known key has signed it')
  })

  it.each([
    ['another head', text.replace('@v1', '@v2'), 'line 1: expected "c2sp.org/tlog-proof@v1"'],
    ['no index', text.replace('index 11\n', ''), 'line 2: expected "index <n>"'],
    ['a hash that is cut', text.replace(/(index 11\n).{4}/, '$1'), 'line 3: expected Base64 of 32 bytes'],
    ['no checkpoint', text.slice(0, text.indexOf('\n\n') + 1), 'expected Base64 of 32 bytes, or the empty line before'],
    [
      '64 hashes',
      text.replace('index 11\n', `index 11\n${`${'A'.repeat(43)}=\n`.repeat(64)}`),
      'expected no further line',
    ],
    ['extra that is no Base64', text.replace('index', 'extra *\nindex'), 'line 2: expected "extra <Base64>"'],
  ])('%s is refused', (_, malformed, message) => {
    expect(() => verifyTlogProof(malformed, leafHash('leaf 11'), keys)).toThrow(
      expect.objectContaining({ code: 'SEAL_INVALID', message: expect.stringContaining(message) }),
    )
  })
})
