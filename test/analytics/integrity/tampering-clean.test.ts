/**
 * Runs with crashes and nothing changed: nothing is found. `npm run test:tamper -- --clean N --seed S` draws more.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkIntegrity, connectAnalytics } from '@agent-audit/analytics'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createRandom } from '../../../bench/support/sessions.ts'
import { openStore } from '../../consumer/support.ts'
import { makeCleanRun } from '../../support/clean-run.ts'
import { printLine } from '../../support/print-line.ts'
import { storeSealLog } from '../../support/seal-log.ts'
import { takeSeed } from '../../support/seed.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'
import { TABLES } from './copies.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`
const RUNS = Number(process.env['AUDIT_TAMPER_CLEAN'] ?? 2)

describe.skipIf(!kafka.available)(
  `a trail with crashes that nobody changed ${MISSING}`,
  { timeout: 300_000 },
  async () => {
    if (!kafka.available) return
    const { brokers } = await sharedKafka()
    const store = await openStore()
    const seed = takeSeed('clean runs')

    it.each(Array.from({ length: RUNS }, (_, index) => index))('is verified: run %i', async (index) => {
      const directory = mkdtempSync(join(tmpdir(), 'clean-run-'))
      onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
      const run = await makeCleanRun({ store, brokers }, { directory, random: createRandom(seed + index) })
      await storeSealLog(store, 'audit', run)
      await using analytics = connectAnalytics(store.dataDir.admin)
      const report = await checkIntegrity(analytics, { trust: run.trust, checkpoints: run.checkpoints })
      printLine(`run ${index}: ${report.verdict}, ${report.events} events, ${run.notes.length} seals; ${run.story}`)
      for (const finding of report.findings) printLine(JSON.stringify(finding))
      expect(report.findings).toEqual([])
      expect(report).toMatchObject({ verdict: 'verified', tier: 'outside' })
      expect(report.sealed_rows).toBe(report.events + report.skipped)
      expect(report.sealed_events).toBe(report.events)
      for (const table of TABLES) await store.send(`TRUNCATE TABLE ${table}`, store.dataDir.admin)
    })
  },
)
