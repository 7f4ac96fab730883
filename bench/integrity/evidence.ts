/** How long the evidence of a session of 1,000 events takes to export and to check: as whole processes, and in this one. */
import { mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAnalytics, exportEvidence } from '@agent-audit/analytics'
import { checkEvidence } from '@agent-audit/seals/evidence'
import { rounded } from '../support/results.ts'
import { environmentOf } from '../support/store.ts'
import type { Figure, IntegrityBenchmark, Measured } from './figures.ts'
import { startCommand } from './sealed-log.ts'
import { SESSION_EVENTS, type SealedTrail } from './sealed-trail.ts'

/** Rounds for each one of the order. */
const ROUNDS = 3
const BOUNDS = { exportSeconds: 1, checkSeconds: 0.5 }

export async function measureEvidence(benchmark: IntegrityBenchmark, trail: SealedTrail): Promise<Measured> {
  const { say } = benchmark
  const session = await findSession(trail)
  const file = join(mkdtempSync(join(benchmark.directory, 'evidence-')), 'bundle')
  const { trustFile } = trail.log
  const trust = readFileSync(trustFile, 'utf8')
  const env = environmentOf(trail.dataDir.reader)
  await using analytics = connectAnalytics(trail.dataDir.reader)
  const rounds: Record<'export' | 'check' | 'exportInside' | 'checkInside', number>[] = []
  let bytes = 0
  // The first round warms caches up.
  for (let round = 0; round <= ROUNDS * benchmark.rounds; round++) {
    const result = {
      export: await secondsOf(() =>
        startCommand(['evidence', 'export', session, '-o', file, '--force', '--trust', trustFile], env).ended(),
      ),
      check: await secondsOf(() => startCommand(['evidence', 'check', file, '--trust', trustFile], {}).ended()),
      exportInside: await secondsOf(() => exportEvidence(analytics, session, { trust })),
      checkInside: await secondsOf(() => {
        const bundle = readFileSync(file)
        bytes = bundle.length
        const { verdict } = checkEvidence(bundle, { trust })
        if (verdict !== 'verified') throw new Error(`the bundle is ${verdict}`)
      }),
    }
    say(`evidence, round ${round}: ${JSON.stringify(result)}`)
    if (round > 0) rounds.push(result)
  }
  const figure = (name: string, of: keyof (typeof rounds)[number], most?: number): Figure => {
    const bound = most === undefined ? undefined : { most }
    return { stage: 'evidence', name, unit: 's', bound, rounds: rounds.map((round) => round[of]) }
  }
  return {
    figures: [
      figure('evidence exported, the whole process', 'export', BOUNDS.exportSeconds),
      figure('evidence checked, the whole process', 'check', BOUNDS.checkSeconds),
      figure('evidence exported, in a process that runs', 'exportInside'),
      figure('evidence checked, in a process that runs', 'checkInside'),
    ],
    notes: [`Evidence is of a session of ${SESSION_EVENTS} events; its bundle has ${bytes.toLocaleString('en-US')} B.`],
  }
}

async function secondsOf(work: () => unknown): Promise<number> {
  const began = performance.now()
  await work()
  return rounded((performance.now() - began) / 1000, 3)
}

/** A session that has ended. */
async function findSession({ store, longRun }: SealedTrail): Promise<string> {
  const [row] = await store.admin.rows<{ session: string }>(
    `SELECT session_id AS session FROM {database:Identifier}.audit_events WHERE run_id = unhex({run:String})
     GROUP BY session_id HAVING countIf(event_type = 'session_end') = 1 AND count() >= {events:UInt32}
     ORDER BY min(log_offset) LIMIT 1`,
    { run: longRun, events: SESSION_EVENTS },
  )
  if (row === undefined) throw new Error(`no session of ${SESSION_EVENTS} events has ended: --events is too small`)
  return row.session
}
