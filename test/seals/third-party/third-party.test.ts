/**
 * A log of ours, read by a C2SP library of another party (PyPI's aics-tlog): signatures, cosignatures, tiles, bundles and proofs.
 * Needs Python 3.12 with venv, or AUDIT_PYTHON with the path of one, and PyPI; skipped aloud without.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  bundlesBetween,
  formatCheckpoint,
  formatEntries,
  formatTile,
  generateKey,
  leafHash,
  MerkleTree,
  signCheckpoint,
  signerFromPem,
  tilePath,
  tilesBetween,
} from '@agent-audit/seals'
import { expect, it } from 'vitest'
import { findPython } from '../../support/python.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const REQUIREMENTS = fileURLToPath(new URL('requirements.txt', import.meta.url))
const SCRIPT = fileURLToPath(new URL('check_log.py', import.meta.url))
const found = findPython('third-party', REQUIREMENTS)
const [missing, python] = 'missing' in found ? [found.missing, ''] : ['', found.python]
const ORIGIN = 'audit.example/seals'
const [SIZE, OLD, INDEX] = [70_000, 66_001, 65_537]
const SECONDS = 1_795_000_000

it.skipIf(missing !== '')(`another library verifies our log${missing === '' ? '' : ` (skipped: ${missing})`}`, () => {
  const folder = makeTempDirectory()
  const write = (path: string, bytes: Uint8Array | string): void => {
    mkdirSync(join(folder, dirname(path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  const tree = new MerkleTree()
  const entries = Array.from({ length: SIZE }, (_, index) => Buffer.from(`seal ${index}\n\n— agent ÄÖ\n`))
  for (const entry of entries) tree.append(leafHash(entry))
  for (const tile of tilesBetween(0, SIZE))
    write(
      tilePath(tile),
      formatTile((level, at) => tree.subtree(level, at), tile),
    )
  for (const bundle of bundlesBetween(0, SIZE)) {
    const first = bundle.index * 256
    write(tilePath(bundle), formatEntries(entries.slice(first, first + bundle.width)))
  }
  const [notary, witness] = [signerFromPem(generateKey('notary')), signerFromPem(generateKey('witness.example/w1'))]
  const checkpoint = { origin: ORIGIN, size: SIZE, root: tree.root() }
  const line = witness.cosignatureLine(formatCheckpoint(checkpoint), SECONDS + 1)
  write('checkpoint', `${signCheckpoint(notary, checkpoint, SECONDS)}${line}`)
  const keys = [notary.vkey, notary.key.cosigner.vkey, witness.key.cosigner.vkey]
  const output = execFileSync(python, [SCRIPT, folder, ...keys, String(INDEX), String(OLD)], { encoding: 'utf8' })
  expect(JSON.parse(output)).toMatchObject({
    log_ok: true,
    origin: ORIGIN,
    size: SIZE,
    root_of_tiles_is_signed: true,
    entry: `seal ${INDEX}\n\n— agent ÄÖ\n`,
    inclusion: tree.inclusionProof(INDEX).map((hash) => hash.toString('base64')),
    included: true,
    consistency: tree.consistencyProof(OLD).map((hash) => hash.toString('base64')),
    consistent: true,
    timestamps: { 'witness.example/w1': SECONDS + 1, notary: SECONDS },
    error: null,
    ok: true,
  })
})
