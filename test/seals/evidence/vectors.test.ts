/** Our check of the bundles of the conformance vectors. The checker in Python has the same ones: second-checker.test.ts. */
import { VerifierKey } from '@agent-audit/seals'
import { checkEvidence } from '@agent-audit/seals/evidence'
import { expect, it } from 'vitest'
import { bundleCases } from './bundle-cases.ts'

it.each(bundleCases())('bundles.json, $what: $verdict', ({ bytes, trust, root, checkpoint, verdict, finding }) => {
  const report = checkEvidence(bytes, {
    trust,
    root: root === undefined ? undefined : VerifierKey.parse(root),
    checkpoint,
  })
  expect(report.verdict).toBe(verdict)
  const worst = report.findings.filter((each) => each.verdict === verdict).map(({ kind }) => kind)
  if (finding !== null) expect(worst).toContain(finding)
})
