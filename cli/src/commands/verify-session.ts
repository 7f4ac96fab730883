/** `agent-audit verify --session`: the seals of one session, and their place in the seal log. */
import { exportEvidence } from '@agent-audit/analytics'
import type { EvidenceReport } from '@agent-audit/seals/evidence'
import { renderEvidence } from '../render/evidence.ts'
import { asJson, shortId } from '../render/text.ts'
import { EXIT } from '../terminal.ts'
import type { Anchors, Output, Verified } from './verify-seals.ts'

const EXIT_CODES = { verified: 0, tampered: 1, incomplete: 2, unchecked: 3 } as const
const NOT_CHECKED = [
  'other sessions, but for the leaves of records that share a seal with this one',
  'the seals of consumers: whether rows were added beside those of the session, or moved',
  'whether the log of seals is whole: only the proofs of these seals',
]

/** Checks what `evidence export` would write. @param session - session_id. */
export async function verifySession(
  { trustText, root, checkpoints }: Anchors,
  { printer, analytics, terminal }: Output,
  { session, json }: { readonly session: string; readonly json?: boolean | undefined },
): Promise<Verified> {
  const { VerifierKey } = await import('@agent-audit/seals')
  const found = await exportEvidence(analytics, session, {
    trust: trustText,
    root: root === undefined ? undefined : VerifierKey.parse(root),
    checkpoint: checkpoints.at(-1),
  })
  if (found === undefined) {
    terminal.err(`agent-audit: no session "${shortId(session)}" in the trail: nothing to verify\n`)
    return { summary: undefined, exitCode: EXIT.notCompleted }
  }
  await printer.print(
    json === true ? `${asJson({ ...found.report, not_checked: NOT_CHECKED })}\n` : textOf(found.report),
  )
  return { summary: undefined, exitCode: EXIT_CODES[found.report.verdict] }
}

function textOf(report: EvidenceReport): string {
  return `${renderEvidence(report)}\nnot checked:\n${NOT_CHECKED.map((text) => `  ${text}\n`).join('')}`
}
