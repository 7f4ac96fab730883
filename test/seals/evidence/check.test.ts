/** Evidence bundles of a really sealed run: what is right is verified, and nothing else. */
import { checkEvidence, formatBundle, parseBundle } from '@agent-audit/seals/evidence'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bundleOf, HOSTILE, recordSealedSessions, trustOf } from '../../support/evidence.ts'
import { evidenceCases, rootOf } from '../../support/evidence-cases.ts'
import { draw, takeSeed } from '../../support/seed.ts'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const directory = mkdtempSync(join(tmpdir(), 'evidence-test-'))
const log = await recordSealedSessions(directory)
rmSync(directory, { recursive: true, force: true })
const bytes = formatBundle(bundleOf(log, 'short'))
const trust = trustOf(log)

describe('a bundle', () => {
  it.each(evidenceCases(log))('$name: $verdict', (each) => {
    const { trust: given, checkpoint, verdict, kind } = each
    const report = checkEvidence(each.bytes, { trust: given, root: rootOf(each), checkpoint })
    expect(report).toMatchObject({ verdict })
    const worst = report.findings.filter((finding) => finding.verdict === verdict)
    expect(worst.map((finding) => finding.kind)).toEqual(
      kind === undefined ? worst.map((finding) => finding.kind) : expect.arrayContaining([kind]),
    )
  })

  it('says which run has which part of the session, and which log has its seals', () => {
    const report = checkEvidence(bytes, { trust })
    expect(report).toMatchObject({ session_id: 'short', events: 10, seals: 2, findings: [] })
    expect(report.runs).toMatchObject([
      { producer_id: 'agent-1', first_session_seq: 0, last_session_seq: 9, ends: true },
    ])
    expect(report.checkpoint).toMatchObject({ origin: 'trail.example/audit.events', size: log.notes.length })
  })

  it('says where a change is', () => {
    const bundle = bundleOf(log, 'short')
    const leaves = Buffer.alloc(bundle.seals[1]?.leaves.length ?? 0)
    const seals = bundle.seals.with(1, { ...bundle.seals[1], leaves } as never)
    const { findings } = checkEvidence(formatBundle({ ...bundle, seals }), { trust })
    expect(findings).toEqual([
      {
        verdict: 'tampered',
        kind: 'seal',
        where: expect.stringMatching(/^run [0-9a-f]{32}, run_seq [1-9]\d* to \d+$/) as string,
        message: 'records or leaves are not those that were sealed',
      },
    ])
  })

  it('has one form: read and written again, it is the same', () => {
    expect(formatBundle(parseBundle(bytes)).equals(bytes)).toBe(true)
  })

  it('is never verified with a byte changed, left out or added', () => {
    const change = fc.record({ at: fc.nat(bytes.length - 1), by: fc.integer({ min: 1, max: 255 }), kind: fc.nat(2) })
    for (const { at, by, kind } of draw(change, 500, takeSeed('changed bundles'))) {
      const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + 1)]
      const middle = kind === 0 ? Buffer.of(((bytes[at] ?? 0) ^ by) & 0xff) : Buffer.alloc(kind === 1 ? 0 : 2, by)
      const changed = Buffer.concat([before, middle, after])
      if (changed.equals(bytes)) continue
      expect(checkEvidence(changed, { trust }).verdict, `byte ${at}`).toMatch(/^(tampered|unchecked)$/)
    }
  })
})

describe('the report in a bundle', () => {
  const { report } = bundleOf(log, 'short')

  it('has all recorded text, and none of it as markup', () => {
    expect(report.match(/<[a-z!/][^>]*>/g)?.every((tag) => KNOWN_TAGS.test(tag))).toBe(true)
    expect(report).toContain('&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;<i>U+202E</i><i>U+0000</i>')
    expect(report).not.toContain(HOSTILE)
    // oxlint-disable-next-line no-control-regex
    expect(report).not.toMatch(/[\u0000-\u0008\u001b\u202e\u{e0041}]/u)
  })

  it('forbids scripts and loads nothing', () => {
    expect(report).toMatch(
      /^<!doctype html>\n<meta charset='utf-8'>\n<meta http-equiv='Content-Security-Policy' content="default-src 'none'; /,
    )
    const markup = [...(report.match(/<[^>]*>/g) ?? []), /<style>.*<\/style>/s.exec(report)?.[0] ?? ''].join('')
    expect(markup).not.toMatch(/https?:|src=|href=|url\(|@import| on[a-z]+=/)
  })
})

const KNOWN_TAGS = /^<(!doctype html|meta [^<>]*|\/?(title|style|h1|h2|p|section|dl|dt|dd|i))>$/
