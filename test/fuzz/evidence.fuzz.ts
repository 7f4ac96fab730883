/**
 * A bundle with any bytes flipped, cut, moved, repeated or added is never called verified and never crashes the checker, whether
 * the head names the changed parts by their SHA-256 or not.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkEvidence, formatBundle, parseBundle } from '@agent-audit/seals/evidence'
import { type Arbitrary, array, asyncProperty, constantFrom, integer, nat, oneof, record, uint8Array } from 'fast-check'
import { bundleOf, recordSealedSessions, trustOf } from '../support/evidence.ts'
import { fixedLog } from '../seals/vectors/fixed-log.ts'
import type { FuzzTarget } from './target.ts'

const FORMS = ['short', 'handed', 'adopted', 'rotated', 'approved', 'encrypted']

/** Some fifty times the usual, since machines stall. */
const MOST_MS = 5000

interface Given {
  readonly bytes: Buffer
  readonly trust: string
}

let made: Promise<Given[]> | undefined

/** Of a really sealed log, and of each form that the conformance vectors have. */
async function make(): Promise<Given[]> {
  const directory = mkdtempSync(join(tmpdir(), 'evidence-fuzz-'))
  try {
    const log = await recordSealedSessions(directory)
    const fixed = fixedLog()
    return [
      { bytes: formatBundle(bundleOf(log, 'short')), trust: trustOf(log) },
      ...FORMS.map((session) => ({ bytes: formatBundle(bundleOf(fixed, session)), trust: trustOf(fixed) })),
    ]
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Positions are shares of the file, so that one case fits any bundle. */
const share = integer({ min: 0, max: 1_000_000 })
const change = oneof(
  record({ kind: constantFrom('flip' as const), at: share, by: integer({ min: 1, max: 255 }) }),
  record({ kind: constantFrom('cut' as const), at: share }),
  record({ kind: constantFrom('remove' as const, 'repeat' as const), at: share, length: nat(200) }),
  record({ kind: constantFrom('insert' as const), at: share, bytes: uint8Array({ minLength: 1, maxLength: 40 }) }),
  record({ kind: constantFrom('move' as const), at: share, to: share, length: nat(200) }),
)
type Change = typeof change extends Arbitrary<infer T> ? T : never

function apply(bytes: Buffer, one: Change): Buffer {
  const at = Math.floor((one.at / 1_000_001) * bytes.length)
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
  if (one.kind === 'flip') {
    const copy = Buffer.from(bytes)
    copy[at] = (copy[at] ?? 0) ^ one.by
    return copy
  }
  if (one.kind === 'cut') return before
  if (one.kind === 'insert') return Buffer.concat([before, one.bytes, after])
  const piece = after.subarray(0, one.length)
  if (one.kind === 'repeat') return Buffer.concat([before, piece, after])
  const rest = Buffer.concat([before, after.subarray(one.length)])
  if (one.kind !== 'move') return rest
  const to = Math.floor((one.to / 1_000_001) * rest.length)
  return Buffer.concat([rest.subarray(0, to), piece, rest.subarray(to)])
}

export const fuzz: FuzzTarget = {
  name: 'evidence',
  property: asyncProperty(
    array(change, { minLength: 1, maxLength: 3 }),
    nat(5),
    nat(FORMS.length),
    async (changes, part, form) => {
      const { bytes, trust } = (await (made ??= make()))[form] as Given
      check(changes.reduce(apply, bytes), bytes, trust)
      check(changedPart(bytes, changes, part), bytes, trust)
    },
  ),
}

/** One part is changed, and the head names it as it is now: what an attacker does. */
function changedPart(bytes: Buffer, changes: readonly Change[], part: number): Buffer {
  const bundle = parseBundle(bytes)
  const text = (from: string): string => changes.reduce(apply, Buffer.from(from)).toString()
  const first = <T>(list: readonly T[], edit: (item: T) => T): T[] => {
    return list.map((item, index) => (index === (changes[0]?.at ?? 0) % list.length ? edit(item) : item))
  }
  const { seals, log } = bundle
  const changed = [
    { ...bundle, schemas: first(bundle.schemas, text) },
    { ...bundle, records: first(bundle.records, (item) => changes.reduce(apply, item)) },
    { ...bundle, seals: first(seals, (item) => ({ ...item, note: text(item.note) })) },
    { ...bundle, seals: first(seals, (item) => ({ ...item, leaves: changes.reduce(apply, item.leaves) })) },
    { ...bundle, log: first(log, (item) => ({ ...item, note: otherText(item.note, text(item.note)) })) },
    { ...bundle, report: text(bundle.report) },
  ]
  return formatBundle(changed[part] ?? bundle)
}

/** A signature line that is there twice, or of an unknown key, changes nothing of what a checkpoint says. */
function otherText(note: string, changed: string): string {
  const end = note.lastIndexOf('\n\n')
  return changed.startsWith(note.slice(0, end + 2)) ? note : changed
}

function check(changed: Buffer, bytes: Buffer, trust: string): void {
  if (changed.equals(bytes)) return
  const start = performance.now()
  const { verdict, findings } = checkEvidence(changed, { trust })
  if (verdict === 'verified') throw new Error('verified, though it was changed')
  if (findings.length === 0) throw new Error('no finding')
  if (performance.now() - start > MOST_MS) throw new Error('too slow')
}
