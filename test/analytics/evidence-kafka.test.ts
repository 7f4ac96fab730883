/**
 * Evidence of a trail that real producers, a real Kafka and a real consumer have made: with a killed producer whose spool another one
 * adopted, duplicates and dead letters. The checker in Python has the same verdicts.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectAnalytics, exportEvidence } from '@agent-audit/analytics'
import { formatTrust } from '@agent-audit/seals'
import { checkEvidence, parseBundle } from '@agent-audit/seals/evidence'
import { kafkaAvailability } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { findPython } from '../seals/evidence/python.ts'
import { storeSealLog } from '../support/seal-log.ts'
import { makeSealedTrail } from '../support/sealed-trail.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const CHECKER = fileURLToPath(new URL('../../examples/check_evidence.py', import.meta.url))
const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`
const CODES = { verified: 0, tampered: 1, incomplete: 2, unchecked: 3 } as const

describe.skipIf(!kafka.available)(`evidence of a sealed trail ${MISSING}`, async () => {
  if (!kafka.available) return
  const { brokers } = await sharedKafka()
  const store = await openStore()
  const directory = mkdtempSync(join(tmpdir(), 'evidence-kafka-test-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('proves its sessions, and says what the killed one lacks', { timeout: 240_000 }, async () => {
    const trail = await makeSealedTrail(store, brokers, directory)
    await storeSealLog(store, 'audit', trail)
    const trust = formatTrust(trail.trust)
    const checkpoint = trail.checkpoints.at(-1)
    const found = findPython()
    await using analytics = connectAnalytics(store.dataDir.reader)
    for (const session of ['session a', 'session d', 'session of the killed']) {
      const made = await exportEvidence(analytics, session, { trust, checkpoint })
      const bundle = made?.bundle ?? Buffer.alloc(0)
      const killed = session === 'session of the killed'
      const verdict = killed ? 'incomplete' : 'verified'
      const report = checkEvidence(bundle, { trust, checkpoint })
      expect([session, report.verdict, report.findings.map(({ kind }) => kind)]).toEqual([
        session,
        verdict,
        killed ? ['end'] : [],
      ])
      expect(made?.decided).toEqual([])
      expect(parseBundle(bundle).seals.some(({ note }) => note.includes('\nstate adopted '))).toBe(killed)
      if (found.missing === undefined) {
        const files = { bundle, trust, checkpoint: checkpoint ?? '' }
        const [file, ...given] = Object.entries(files).map(([name, content]) => {
          writeFileSync(join(directory, name), content)
          return join(directory, name)
        })
        const args = ['-B', CHECKER, file ?? '', '--trust', given[0] ?? '', '--checkpoint', given[1] ?? '']
        const { status, stdout } = spawnSync(found.python, args, { encoding: 'utf8' })
        expect([status, stdout.split('\n')[0]]).toEqual([CODES[verdict], verdict])
      }
    }
  })
})
