/** What producers of fixed keys and times have left in a log: the sessions of the bundles of the conformance vectors. */
import { NEWEST_SCHEMA, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { signerFromPem, type TrustedKey } from '@agent-audit/seals'
import { HOSTILE, type SealedLog } from '../../support/evidence.ts'
import type { TestKey } from '../../support/sealed-runs.ts'
import { FixedRun, fixedKey } from './fixed-runs.ts'

const START = Date.UTC(2026, 10, 23, 21)
const DAY = 86_400_000
const RUNS = ['01', '02', '03', '04', '05'].map((digits) => `0197c2d4a1b27c3e9f001122334455${digits}`)
const [OLDEST = NEWEST_SCHEMA] = SCHEMA_VERSIONS
const CALL = { model_id: 'model-1', output_text: HOSTILE, input_tokens: 120, latency_ms: 831, cost_usd: 1 / 3e7 }

/** Sessions `short`, `long`, `open` and `handed` as in a really sealed log, and those of {@link moreSessions}. */
export function fixedLog(): SealedLog {
  let keys = 30
  const [producer, notary, witness, second, successor] = [
    fixedKey('agent-1', 20),
    fixedKey('notary-1', 21),
    fixedKey('witness.example', 22),
    fixedKey('agent-2', 23),
    fixedKey('agent-1', 24),
  ] as const
  const runs = [...firstSessions(producer), ...moreSessions(producer, second, successor)]
  const now = START + DAY
  const trusted = [second, successor].map(({ verifier }): TrustedKey => {
    return { key: verifier, role: 'producer', notBefore: START, notAfter: undefined, revoked: undefined }
  })
  return {
    producer,
    notary,
    events: runs.flatMap(({ events }) => events),
    notes: runs.flatMap(({ notes }) => notes),
    now,
    witness,
    trusted,
    newKey: (name) => fixedKey(name, keys++),
  }
}

function firstSessions(producer: TestKey): FixedRun[] {
  const signer = signerFromPem(producer.pem)
  const [first, second] = [runOf(0, 'agent-1', OLDEST), runOf(1, 'agent-1', OLDEST)]
  first.add('short', 'session_start', { content: JSON.stringify({ user_message: 'hi' }) })
  first.add('long', 'session_start')
  for (let index = 0; index < 3; index++) {
    first.add('short', 'llm_call', { ...CALL, step_number: index, cost_usd: index / 3e7 })
    first.add('long', 'decision', { reasoning: `decision ${index}` })
  }
  first.seal(signer)
  first.skip()
  first.add('long', 'decision', { reasoning: 'behind a record that was refused' })
  first.add('short', 'final_output', { output_text: 'done' })
  first.add('open', 'session_start')
  first.add('handed', 'session_start')
  first.add('short', 'session_end', { outcome: 'success' })
  first.seal(signer, { kind: 'closed' })
  second.add('handed', 'session_resumed', resumed(first))
  second.add('handed', 'session_end', { outcome: 'success' })
  second.seal(signer, { kind: 'closed' })
  return [first, second]
}

/**
 * `adopted`: its first run was dead, and its tail sealed by the run that goes on with it. `rotated`: the run that goes on with it has
 * another key.
 */
function moreSessions(producer: TestKey, other: TestKey, successor: TestKey): FixedRun[] {
  const signer = signerFromPem(producer.pem)
  const [dead, next, last] = [
    runOf(2, 'agent-2', NEWEST_SCHEMA),
    runOf(3, 'agent-1', NEWEST_SCHEMA),
    runOf(4, 'agent-1', NEWEST_SCHEMA),
  ] as const
  dead.add('adopted', 'session_start')
  dead.add('adopted', 'decision', { reasoning: 'sealed by its own run' })
  dead.seal(signerFromPem(other.pem))
  dead.add('adopted', 'decision', { reasoning: 'sealed by another one' })
  dead.add('elsewhere', 'session_start')
  dead.seal(signer, { kind: 'adopted', by: next.runId })
  next.add('adopted', 'session_resumed', resumed(dead))
  next.add('rotated', 'session_start')
  next.add('adopted', 'session_end', { outcome: 'success' })
  next.seal(signer, { kind: 'closed' })
  last.add('rotated', 'session_resumed', resumed(next))
  last.add('rotated', 'session_end', { outcome: 'success' })
  last.seal(signerFromPem(successor.pem), { kind: 'closed' })
  return [dead, next, last]
}

function runOf(index: number, producerId: string, version: typeof NEWEST_SCHEMA): FixedRun {
  return new FixedRun({ runId: RUNS[index] ?? '', producerId, version, start: START + index * 3_600_000 })
}

function resumed({ runId }: FixedRun): { content: string } {
  return { content: JSON.stringify({ from_run_id: runId }) }
}
