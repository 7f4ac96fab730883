/**
 * Kills producers that seal their records, in rounds on one spool directory. Each round adopts what the rounds before have left:
 * some of its producers with a key, some without. Afterwards every record that is in the topic must be in exactly one seal, and
 * each run must have a last seal.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openEmbeddedLog } from '@agent-audit/spool'
import * as fc from 'fast-check'
import { checkSeals, newKey, readMessages } from '../support/sealed-runs.ts'
import { drainSpools, LOG, PARTITIONS, producerPlan, runAndKill } from './rounds.ts'

export interface SealedKillReport {
  /** Runs that had a key and records in the topic, and all their records there. */
  readonly runs: number
  readonly records: number
  /** Seals, and those of them that an adopter has made. */
  readonly seals: number
  readonly adopted: number
  readonly gaps: number
  /** Records in the topic without a seal, in two seals, and sealed records that are not in the topic. */
  readonly unsealed: number
  readonly sealedTwice: number
  readonly missing: number
  /** Runs whose newest seal is not the last one of the run. */
  readonly open: number
  /** What is wrong with a chain or a digest. */
  readonly faults: readonly string[]
}

const roundPlan = fc.array(fc.record({ plan: producerPlan, sealed: fc.nat({ max: 3 }).map((draw) => draw > 0) }), {
  minLength: 1,
  maxLength: 2,
})

/** Runs the rounds on a new embedded log, and removes it. */
export async function runSealedKillRounds({
  rounds,
  seed,
  onRound,
}: {
  readonly rounds: number
  readonly seed: number
  readonly onRound?: (round: number) => void
}): Promise<SealedKillReport> {
  const directory = mkdtempSync(join(tmpdir(), 'kill-seals-'))
  const [killed, next] = [newKey('killed'), newKey('next')]
  const directories = { dataDir: join(directory, 'data'), spoolDir: join(directory, 'spool') }
  const keyFile = join(directory, 'killed.key')
  writeFileSync(keyFile, killed.pem, { mode: 0o600 })
  try {
    makeTopic(directories.dataDir)
    const withKey = new Set<string>()
    for (const [round, plans] of fc.sample(roundPlan, { numRuns: rounds, seed }).entries()) {
      await Promise.all(
        plans.map(async ({ plan: { delayMs, early, ...plan }, sealed }, index) => {
          const order = { ...plan, ...directories, sessionId: `killed-${round}-${index}` }
          const env = sealed ? { ...process.env, AUDIT_SIGNING_KEY_FILE: keyFile } : process.env
          const { runId } = await runAndKill(order, { delayMs, early, env })
          if (sealed && runId !== undefined) withKey.add(runId)
        }),
      )
      onRound?.(round + 1)
    }
    await drainSpools({ ...directories, signing: { key: next.pem } })
    return judge(directories.dataDir, withKey, [killed, next])
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function makeTopic(dataDir: string): void {
  const log = openEmbeddedLog({ directory: dataDir })
  log.createTopic(LOG.topic, PARTITIONS)
  log.close()
}

function judge(
  dataDir: string,
  withKey: ReadonlySet<string>,
  keys: readonly ReturnType<typeof newKey>[],
): SealedKillReport {
  const found = checkSeals(readMessages(dataDir, LOG.topic), readMessages(dataDir, `${LOG.topic}.seals`), keys)
  const runs = [...found].filter(([runId]) => withKey.has(runId)).map(([, run]) => run)
  const sum = (read: (run: (typeof runs)[number]) => number): number =>
    runs.reduce((total, run) => total + read(run), 0)
  return {
    runs: runs.length,
    records: sum(({ records }) => records.length),
    seals: sum(({ seals }) => seals.length),
    adopted: sum(({ seals }) => seals.filter(({ state }) => state.kind === 'adopted').length),
    gaps: sum(({ gaps }) => gaps.length),
    unsealed: sum(({ unsealed }) => unsealed.length),
    sealedTwice: sum(({ sealedTwice }) => sealedTwice.length),
    missing: sum(({ missing }) => missing.length),
    open: runs.filter(({ seals }) => seals.at(-1)?.state.kind === 'open').length,
    faults: [...found].flatMap(([runId, { faults }]) => faults.map((fault) => `run ${runId}: ${fault}`)),
  }
}
