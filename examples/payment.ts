/**
 * A payment that a person approves in another process. Each command is a process of its own, and may run on another day.
 * All of them need the same destination: KAFKA_BROKERS, or AUDIT_DATA_DIR for the embedded log.
 *
 *   export AUDIT_DATA_DIR=.audit-data
 *   node --conditions=agent-audit-source examples/payment.ts ask 1200 request.json
 *   node --conditions=agent-audit-source examples/payment.ts review kim request.json decision.json
 *   node --conditions=agent-audit-source examples/payment.ts pay 1200 request.json decision.json
 *
 * Paying another amount than was approved, or without a decision, is refused and recorded.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { hostname, userInfo } from 'node:os'
import {
  ActionRefusedError,
  type ApprovalDecision,
  type ApprovalRequest,
  createAuditTrail,
} from '@agent-audit/producer'
import { pay } from './yours.ts'

await using trail = createAuditTrail({ agentId: 'payer' })
const [command, ...args] = process.argv.slice(2)

/** The same call each time: the digest of its arguments binds the payment to the request. */
function paymentOf(eur: string): {
  tool_name: string
  tool_input: { to: string; eur: number }
  requires_approval: true
} {
  return { tool_name: 'send_payment', tool_input: { to: 'DE02', eur: Number(eur) }, requires_approval: true }
}

async function ask(eur: string, requestFile: string): Promise<string> {
  const session = trail.startSession({ user_id: 'u7' })
  const request = await session.requestApproval(paymentOf(eur), { reason: 'above 1000 EUR', ttlMs: 3_600_000 })
  writeFileSync(requestFile, JSON.stringify(request))
  return `asked in session ${session.session_id}`
}

async function review(person: string, requestFile: string, decisionFile: string): Promise<string> {
  const request = read(requestFile) as ApprovalRequest
  // The user who runs this command vouches for the person. A desk names its sign-on here, such as its OIDC issuer.
  const identity_source = `os-user:${userInfo().username}@${hostname()}`
  const decision = await trail.decideApproval(request, {
    approval_status: 'approved',
    approver_id: person,
    identity_source,
  })
  writeFileSync(decisionFile, JSON.stringify(decision))
  return `approved ${JSON.stringify(request.tool_input)}`
}

async function execute(eur: string, requestFile: string, decisionFile: string): Promise<string> {
  const session = trail.resumeSession((read(requestFile) as ApprovalRequest).session)
  try {
    const done = await session.guard(paymentOf(eur), pay, { approval: read(decisionFile) as ApprovalDecision })
    session.end()
    return done
  } catch (error) {
    if (error instanceof ActionRefusedError) return `${error.code}, on record as ${error.event_id}`
    throw error
  }
}

function read(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'))
}

const commands: Record<string, (...given: string[]) => Promise<string>> = { ask, review, pay: execute }
const run = commands[command ?? '']
if (run === undefined) throw new Error('usage: payment.ts ask|review|pay, as shown at the top of this file')
process.stdout.write(`${await run(...args)}\n`)
