/** What producers of fixed keys and times have left in a log: the sessions of the bundles of the conformance vectors. */
import { NEWEST_SCHEMA, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { formatApproval, type KeySigner, type SignedApproval, signerFromPem, type TrustedKey } from '@agent-audit/seals'
import { HOSTILE, type SealedLog } from '../../support/evidence.ts'
import type { TestKey } from '../../support/sealed-runs.ts'
import { type Fields, FixedRun, fixedKey } from './fixed-runs.ts'

const START = Date.UTC(2026, 10, 23, 21)
const DAY = 86_400_000
const RUNS = ['01', '02', '03', '04', '05', '06', '07'].map((digits) => `0197c2d4a1b27c3e9f001122334455${digits}`)
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
  const approver = fixedKey('kim%40example.com', 25)
  const runs = [
    ...firstSessions(producer),
    ...moreSessions(producer, second, successor),
    signedAndEncrypted(producer, approver),
    signedInPrivate(producer),
  ]
  const now = START + DAY
  const ofKey = { notBefore: START, notAfter: undefined, revoked: undefined }
  const trusted: TrustedKey[] = [
    { ...ofKey, key: second.verifier, role: 'producer' },
    { ...ofKey, key: successor.verifier, role: 'producer' },
    { ...ofKey, key: approver.verifier, role: 'approver' },
  ]
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
  const [first, second] = [runOf(0, 'agent-1', OLDEST), runOf(1, 'agent-1', NEWEST_SCHEMA)]
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

/**
 * `approved`: a signed decision and the call that it allows. `misled`: a call on the signature of another one. `encrypted`: texts
 * under a data key, and one of a subject that was erased before.
 */
function signedAndEncrypted(producer: TestKey, approver: TestKey): FixedRun {
  const run = runOf(5, 'agent-1', NEWEST_SCHEMA)
  const signed = approve(run, signerFromPem(approver.pem))
  const call = { tool_call_id: 'call 1', tool_name: 'send_payment', arguments_sha256: Buffer.alloc(32, 0x11) }
  const decided = { ...call, ...signed }
  run.add('approved', 'session_start')
  run.add('approved', 'approval_request', { ...call, approval_status: 'pending', approval_id: run.eventId(1) })
  run.add('approved', 'approval_decision', decided)
  run.add('approved', 'tool_call', { ...decided, tool_input: '{"eur":1200}' })
  run.add('approved', 'session_end')
  run.add('misled', 'session_start')
  run.add('misled', 'tool_call', { ...decided, arguments_sha256: Buffer.alloc(32, 0x22), tool_input: '{"eur":9900}' })
  run.add('misled', 'session_end')
  const notes = { reasoning: { encrypted: true }, output_text: { erased: '0'.repeat(32) }, content: { cut: 5 } }
  const text = `enc:v1:${'a1'.repeat(16)}:${Buffer.alloc(40, 7).toString('base64')}`
  run.add('encrypted', 'session_start')
  run.add('encrypted', 'decision', { reasoning: text, field_notes: JSON.stringify(notes) })
  run.add('encrypted', 'session_end')
  run.seal(signerFromPem(producer.pem), { kind: 'closed' })
  return run
}

/** `private`: a signed decision and the call that it allows, of a subject whose texts are encrypted: the signature is too. */
function signedInPrivate(producer: TestKey): FixedRun {
  const run = runOf(6, 'agent-1', NEWEST_SCHEMA)
  const text = `enc:v1:${'b2'.repeat(16)}:${Buffer.alloc(600, 7).toString('base64')}`
  const approver = { approver_kind: 'person', identity_source: 'https://login.example.com' }
  const approval = JSON.stringify({ ...approver, shown_sha256: '55'.repeat(32), signature: text })
  const call = { tool_call_id: 'call 1', tool_name: 'send_payment', arguments_sha256: Buffer.alloc(32, 0x44) }
  const asked = { ...call, approval_id: run.eventId(1), tool_input: JSON.stringify(text) }
  const decided = {
    ...call,
    approval_id: run.eventId(1),
    approval_status: 'approved',
    approver_id: 'kim@example.com',
    approval,
  }
  run.add('private', 'session_start')
  run.add('private', 'approval_request', {
    ...asked,
    approval_status: 'pending',
    field_notes: encryptedIn('tool_input'),
  })
  run.add('private', 'approval_decision', { ...decided, field_notes: encryptedIn('approval') })
  run.add('private', 'tool_call', { ...asked, ...decided, field_notes: encryptedIn('tool_input', 'approval') })
  run.add('private', 'session_end')
  run.seal(signerFromPem(producer.pem), { kind: 'closed' })
  return run
}

function encryptedIn(...fields: string[]): string {
  return JSON.stringify(Object.fromEntries(fields.map((field) => [field, { encrypted: true }])))
}

/** The fields of a decision on the request that is record 1 of the run. */
function approve(run: FixedRun, approver: KeySigner): Fields {
  const said: SignedApproval = {
    id: run.eventId(1),
    sessionId: 'approved',
    toolName: 'send_payment',
    onBehalfOf: undefined,
    argumentsSha256: '11'.repeat(32),
    askedSha256: undefined,
    decision: 'approved',
    approverKind: 'person',
    approverId: 'kim@example.com',
    identitySource: 'https://login.example.com',
    shownSha256: '33'.repeat(32),
    decidedAt: START,
    expiresAt: START + DAY,
  }
  const { approverKind, identitySource, shownSha256 } = said
  const names = { approver_kind: approverKind, identity_source: identitySource, shown_sha256: shownSha256 }
  const approval = JSON.stringify({ ...names, signature: approver.sign(formatApproval(said)) })
  return { approval_id: said.id, approval_status: 'approved', approver_id: said.approverId, approval }
}

function runOf(index: number, producerId: string, version: typeof NEWEST_SCHEMA): FixedRun {
  return new FixedRun({ runId: RUNS[index] ?? '', producerId, version, start: START + index * 3_600_000 })
}

function resumed({ runId }: FixedRun): { content: string } {
  return { content: JSON.stringify({ from_run_id: runId }) }
}
