/** The bundles of the conformance vectors, read from their files alone. */
import { readFileSync } from 'node:fs'
import type { EvidenceReport, FindingKind } from '@agent-audit/seals/evidence'
import { type Edit, edited } from '../vectors/bundle-vectors.ts'

export interface BundleCase {
  readonly what: string
  readonly bytes: Buffer
  readonly trust: string | undefined
  readonly root: string | undefined
  readonly checkpoint: string | undefined
  readonly verdict: EvidenceReport['verdict']
  readonly exitCode: number
  readonly finding: FindingKind | null
}

interface Vector {
  readonly what: string
  readonly file: string
  readonly edits: readonly Edit[]
  readonly trust: number | null
  readonly root: string | null
  readonly checkpoint: string | null
  readonly verdict: EvidenceReport['verdict']
  readonly exit_code: number
  readonly finding: FindingKind | null
}

function read(name: string): Buffer {
  return readFileSync(new URL(`../../../seals/vectors/${name}`, import.meta.url))
}

export function bundleCases(): BundleCase[] {
  const { trusts, cases } = JSON.parse(read('bundles.json').toString()) as { trusts: string[]; cases: Vector[] }
  return cases.map((each) => ({
    what: each.what,
    bytes: edited(read(each.file), each.edits),
    trust: each.trust === null ? undefined : trusts[each.trust],
    root: each.root ?? undefined,
    checkpoint: each.checkpoint ?? undefined,
    verdict: each.verdict,
    exitCode: each.exit_code,
    finding: each.finding,
  }))
}
