/** bundles.json and bundles/: evidence bundles, and what becomes of them by changes, each with the verdict that a checker gives. */
import { formatBundle } from '@agent-audit/seals/evidence'
import { bundleOf } from '../../support/evidence.ts'
import { type EvidenceCase, evidenceCases } from '../../support/evidence-cases.ts'
import { fixedLog } from './fixed-log.ts'
import { formCases } from './form-cases.ts'
import type { Vectors } from './fixed-keys.ts'

const SESSIONS = [
  'short',
  'open',
  'handed',
  'adopted',
  'rotated',
  'approved',
  'misled',
  'private',
  'encrypted',
] as const
const EXIT_CODES = { verified: 0, tampered: 1, incomplete: 2, unchecked: 3 } as const
type Session = (typeof SESSIONS)[number]

/** `at`: a byte of the file as it is before all edits. `insert`: Base64. */
export interface Edit {
  readonly at: number
  readonly remove: number
  readonly insert: string
}

const log = fixedLog()

function nameOf(session: string): string {
  return `bundles/${session}.evidence`
}

/** By path in the folder of vectors. */
export const BUNDLE_FILES: Readonly<Record<string, () => Buffer>> = Object.fromEntries(
  SESSIONS.map((session) => [nameOf(session), () => formatBundle(bundleOf(log, session))]),
)

export function bundleVectors(): Vectors {
  const files = new Map(SESSIONS.map((session) => [session, formatBundle(bundleOf(log, session))]))
  const trusts: string[] = []
  const cases = [...evidenceCases(log), ...formCases(log)].map((each) => vectorOf(each, files, trusts))
  return { trusts, cases }
}

function vectorOf(each: EvidenceCase, files: ReadonlyMap<Session, Buffer>, trusts: string[]): Vectors {
  const { name, bytes, trust, root = null, checkpoint = null, verdict, kind = null } = each
  const tried = [...files].map(([session, file]) => ({ session, edits: editsBetween(file, bytes) }))
  const [best = { session: 'short', edits: [] }] = tried.toSorted(
    (one, other) => sizeOf(one.edits) - sizeOf(other.edits),
  )
  if (trust !== undefined && !trusts.includes(trust)) trusts.push(trust)
  return {
    what: name,
    file: nameOf(best.session),
    edits: best.edits,
    trust: trust === undefined ? null : trusts.indexOf(trust),
    root,
    checkpoint,
    verdict,
    exit_code: EXIT_CODES[verdict],
    finding: kind,
  }
}

function sizeOf(edits: readonly Edit[]): number {
  return edits.reduce((sum, { insert, remove }) => sum + insert.length + Math.min(remove, 100), 0)
}

/** In ascending order: one in each part of the file that differs, or one of the whole where the parts cannot be told apart. */
function editsBetween(from: Buffer, to: Buffer): Edit[] {
  const [parts, others] = [partsOf(from), partsOf(to)]
  if (parts === undefined || others === undefined) return edit(0, from, to)
  let at = 0
  return parts.flatMap((part, index) => {
    const found = edit(at, part, others[index] ?? Buffer.alloc(0))
    at += part.length
    return found
  })
}

/** The head and the parts that it names; undefined, if it is another file. */
function partsOf(file: Buffer): Buffer[] | undefined {
  const end = file.indexOf('\n\n') + 2
  const sizes = [
    ...file
      .subarray(0, end)
      .toString()
      .matchAll(/^part \S+ (\d+) /gm),
  ].map(([, size]) => Number(size))
  if (end < 2 || sizes.length !== 6 || sizes.reduce((sum, size) => sum + size, end) !== file.length) return undefined
  let at = end
  return [file.subarray(0, end), ...sizes.map((size) => file.subarray(at, (at += size)))]
}

function edit(start: number, from: Buffer, to: Buffer): Edit[] {
  if (from.equals(to)) return []
  const most = Math.min(from.length, to.length)
  let [before, behind] = [0, 0]
  while (before < most && from[before] === to[before]) before++
  while (behind < most - before && from.at(-1 - behind) === to.at(-1 - behind)) behind++
  const insert = to.subarray(before, to.length - behind).toString('base64')
  return [{ at: start + before, remove: from.length - behind - before, insert }]
}

/** The file of a case. */
export function edited(file: Buffer, edits: readonly Edit[]): Buffer {
  let at = 0
  const pieces = edits.flatMap((each) => {
    const kept = file.subarray(at, each.at)
    at = each.at + each.remove
    return [kept, Buffer.from(each.insert, 'base64')]
  })
  return Buffer.concat([...pieces, file.subarray(at)])
}
