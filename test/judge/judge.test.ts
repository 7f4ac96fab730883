/** The judgement's report: what it keeps, what it says, and when the command fails. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { judge } from '../../judge/judge.ts'
import type { JudgePart, Section } from '../../judge/part.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const TARGET = 'recall of loops, mild | strong [both]'

function section(got: number, more: Partial<Section> = {}): Section {
  const targets = [{ name: TARGET, wanted: 'at least 0.9', got, met: got >= 0.9 }]
  return { title: 'A fleet', text: ['Made sessions.'], tables: [], targets, misses: [], ...more }
}

function part(result: Section | string | Error, name = 'fleet'): JudgePart {
  return { name, run: async () => (result instanceof Error ? Promise.reject(result) : Promise.resolve(result)) }
}

/** Runs the parts on one report, one after the other; each is compared with what the one before left. */
async function judged(...runs: (readonly JudgePart[])[]) {
  const file = join(makeTempDirectory(), 'detectors.md')
  let committed = ''
  const results = []
  for (const parts of runs) {
    let said = ''
    const code = await judge({
      parts,
      only: [],
      seed: 7,
      file,
      committed,
      detectors: [],
      say: (text) => (said += text),
    })
    committed = readFileSync(file, 'utf8')
    results.push({ code, said, report: committed })
  }
  return results
}

it('fails when a target is missed, or not judged any more, that the committed report had met', async () => {
  const [first, again, worse, gone] = await judged(
    [part(section(0.95))],
    [part(section(0.91))],
    [part(section(0.8))],
    [part(section(0.8, { targets: [] }))],
  )
  expect([first?.code, again?.code]).toEqual([0, 0])
  expect(worse?.code).toBe(1)
  expect(worse?.said).toMatch(
    /mild \| strong \[both\]" was met in the committed report; now 0\.8, wanted at least 0\.9/,
  )
  expect(worse?.report).toContain('**missed**')
  // The report before has it as missed.
  expect(gone?.code).toBe(0)
  const [, lost] = await judged([part(section(0.95))], [part(section(0.95, { targets: [] }))])
  expect(lost?.code).toBe(1)
  expect(lost?.said).toContain('is not judged now')
})

it('a part without its data keeps its section, and the report says which data is absent', async () => {
  const absent = 'AUDIT_ATTACKS_DIR names no data'
  const [never, , kept] = await judged([part(absent)], [part(section(0.95))], [part(absent)])
  expect(never?.code).toBe(0)
  expect(never?.report).toContain('Not judged here.')
  expect(never?.report).toContain(`- fleet: ${absent}`)
  expect(kept?.code).toBe(0)
  expect(kept?.report).toContain('Made sessions.')
  expect(kept?.report).toContain(`- fleet: ${absent}`)
})

it('a part that fails makes the command fail, stops no other part, and keeps its section', async () => {
  const before = [part(section(0.95)), part(section(0.95), 'scale')]
  const [, after] = await judged(before, [part(new Error('no such column')), part(section(0.97), 'scale')])
  expect(after?.code).toBe(1)
  expect(after?.said).toContain('fleet failed: Error: no such column')
  expect(after?.report).toMatch(/0\.95[\s\S]*0\.97/)
})

it('examples of attacks are text in the report and at the terminal', async () => {
  const miss = 'read <img src=x onerror=alert(1)> | [pay](http://evil.example)\u001B[2J\n# Heading'
  const [run] = await judged([part(section(0.95, { misses: [miss] }))])
  expect(run?.report).not.toMatch(/<img|\]\(http|^# Heading/m)
  expect(run?.report).not.toContain('\u001B')
  expect(run?.report).toContain('onerror=alert(1)')
  expect(run?.said).not.toContain('\u001B')
})
