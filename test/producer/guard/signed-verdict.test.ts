/** Verdicts that are signed where the approver decides, overrides with a signature, and what redaction leaves of one. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ApprovalRequest, createAuditTrail, signVerdict, type Verdict } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import { readApproval } from '@agent-audit/seals'
import { describe, expect, it, vi } from 'vitest'
import { KIM, carried, payment, yes } from './approval-support.ts'
import { keys, makeTrustFile, openDesk, resigned } from './signing-support.ts'
import { openTrail, readRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const less = { to: 'DE02', eur: 900 }

describe('a verdict of the function `approval`, with a trust file', () => {
  it.each<[string, Verdict, unknown]>([
    ['approved', yes, payment.tool_input],
    ['modified', { ...yes, modified_input: less }, less],
    ['shown otherwise', { ...yes, shown: 'pay 1200 EUR' }, payment.tool_input],
  ])('runs the call when it was signed where the approver decides: %s', async (_, verdict, input) => {
    const { agent } = openDesk()
    const pay = vi.fn<(input: unknown) => void>()
    const ask = async (request: ApprovalRequest): Promise<Verdict> =>
      carried(await signVerdict(carried(request), verdict, keys.kim.signer))
    await agent.startSession().guard(payment, pay, { approval: ask })
    expect(pay.mock.calls).toEqual([[input]])
  })

  it('runs nothing without a signature, and leaves the question open', async () => {
    const { agent } = openDesk()
    const pay = vi.fn<() => void>()
    const paid = agent.startSession().guard(payment, pay, { approval: () => yes })
    await expect(paid).rejects.toMatchObject({ code: 'APPROVAL_UNSIGNED' })
    expect(pay).not.toHaveBeenCalled()
    expect(agent.events({ event_type: 'approval_decision' })).toMatchObject([
      { outcome: 'denied', approval_status: 'pending', reason_code: 'approval_unverified' },
    ])
  })

  it('runs nothing on the signature of an earlier request', async () => {
    const { agent } = openDesk()
    const session = agent.startSession()
    const pay = vi.fn<() => void>()
    let first: Verdict | undefined
    const ask = async (request: ApprovalRequest): Promise<Verdict> =>
      (first ??= await signVerdict(request, yes, keys.kim.signer))
    await session.guard(payment, pay, { approval: ask })
    const again = session.guard(payment, pay, { approval: ask })
    await expect(again).rejects.toMatchObject({
      code: 'APPROVAL_UNVERIFIED',
      message: expect.stringContaining('approval_id'),
    })
    expect(pay).toHaveBeenCalledTimes(1)
  })
})

describe('decideApproval', () => {
  it('takes a signed verdict, and does not count one that says something else', async () => {
    const { agent } = openDesk()
    const request = await agent.startSession().requestApproval(payment)
    const signed = await signVerdict(request, yes, keys.kim.signer)
    const desk = createTestTrail()
    expect(await desk.decideApproval(request, signed)).toMatchObject({ approval: { signature: signed.signature } })
    const changed = { ...signed, approver_id: 'lee' }
    await expect(desk.decideApproval(request, changed)).rejects.toMatchObject({
      code: 'APPROVAL_UNVERIFIED',
      message: expect.stringContaining('approver_id differ'),
    })
    expect(desk.events({ event_type: 'approval_decision' })[1]).toMatchObject({ approval_status: 'pending' })
  })

  it('does not count an approval without a signature where the trail has a trust file', async () => {
    const { agent } = openDesk()
    const request = await agent.startSession().requestApproval(payment)
    await expect(agent.decideApproval(request, yes)).rejects.toMatchObject({ code: 'APPROVAL_UNSIGNED' })
  })

  it('signVerdict refuses a request whose arguments were changed', async () => {
    const { agent } = openDesk()
    const request = await agent.startSession().requestApproval(payment)
    const altered = { ...request, tool_input: less }
    await expect(signVerdict(altered, yes, keys.kim.signer)).rejects.toMatchObject({
      code: 'EVENT_INVALID',
      issues: [{ path: 'arguments_sha256' }],
    })
  })
})

function sessions() {
  const { agent, desk } = openDesk()
  const session = agent.startSession()
  return { session, desk: desk.resumeSession(session.ref), pay: vi.fn<() => void>() }
}

describe('an override, with a trust file', () => {
  const because = { ...KIM, reason: 'urgent' }
  const denied = { check: () => ({ outcome: 'denied', reason: 'no' }) as const }
  const call = { ...payment, requires_approval: false }

  it('runs the call once, by the id that is signed', async () => {
    const { session, desk, pay } = sessions()
    const override = carried(await desk.override(call, because))
    await session.guard(call, pay, { ...denied, override })
    const renamed = { ...override, event_id: '0197c2d4-a1b2-7c3e-9f00-112233445566' }
    const again = session.guard(call, pay, { ...denied, override: renamed })
    await expect(again).rejects.toMatchObject({ code: 'APPROVAL_USED' })
    expect(pay).toHaveBeenCalledTimes(1)
  })

  it('runs nothing without a signature, nor on that of an approval', async () => {
    const { session, desk, pay } = sessions()
    const override = await desk.override(call, because)
    const { signature: _, ...approval } = override.approval
    const guarded = (changed: typeof override) => session.guard(call, pay, { ...denied, override: changed })
    await expect(guarded({ ...override, approval })).rejects.toMatchObject({ code: 'APPROVAL_UNSIGNED' })
    await expect(guarded({ ...override, expires_at: '2099-01-01T00:00:00.000Z' })).rejects.toMatchObject({
      code: 'APPROVAL_UNVERIFIED',
      message: expect.stringContaining('expires_at differ'),
    })
    const decision = createTestTrail({ approvalSigning: { key: keys.desk.pem } })
    const approved = await decision.decideApproval(await session.requestApproval(call), yes)
    const stolen = resigned(approved, keys.desk).approval.signature ?? ''
    await expect(guarded({ ...override, approval: { ...approval, signature: stolen } })).rejects.toMatchObject({
      code: 'APPROVAL_UNVERIFIED',
      message: expect.stringContaining('approval_status'),
    })
    expect(pay).not.toHaveBeenCalled()
  })
})

describe('the record', () => {
  it.each([
    ['approver_id', { paths: ['approver_id'] }],
    ['approval.identity_source', { paths: ['approval.identity_source'] }],
  ])('has no signature where redaction removes %s, which the signature repeats', async (_, redact) => {
    const desk = createTestTrail({ approvalSigning: { key: keys.desk.pem }, redact })
    const decision = await desk.decideApproval(await desk.startSession().requestApproval(payment), yes)
    expect(readApproval(decision.approval.signature ?? '')).toMatchObject({ approval: { approverId: 'kim' } })
    const [recorded] = desk.events({ event_type: 'approval_decision' })
    expect(recorded).toMatchObject({ approval: { signature: '[redacted:signature]' } })
    const secret = { approver_id: 'kim', 'approval.identity_source': 'id.example' }[redact.paths[0] ?? ''] ?? ''
    expect(JSON.stringify(recorded)).not.toContain(secret)
  })
})

it('trail_started names the keys and the trust file, and has no private key, also without redaction', async () => {
  const trust = makeTrustFile()
  const dataDir = makeTempDirectory()
  const keyed = { signing: { key: keys.producer.pem }, approvalSigning: { key: keys.desk.pem } }
  const trail = openTrail({ ...keyed, dataDir, redact: 'off', approvalTrust: { file: trust.path } })
  await trail.close()
  const [started] = readRows(dataDir)
  const named = { signing: 'agent-1', approvalSigner: keys.desk.signer.vkey, approvalTrust: trust.path }
  expect(started).toMatchObject({ event_type: 'trail_started', content: { options: named } })
  expect(JSON.stringify(started)).not.toContain('PRIVATE KEY')
})

describe('keys of the environment', () => {
  it('sign and verify, and a wrong one is named', async () => {
    const directory = makeTempDirectory()
    const keyFile = join(directory, 'kim.key')
    writeFileSync(keyFile, keys.kim.pem, { mode: 0o600 })
    vi.stubEnv('AUDIT_APPROVAL_KEY_FILE', keyFile)
    vi.stubEnv('AUDIT_APPROVAL_TRUST_FILE', makeTrustFile().path)
    const options = { agentId: 'a', dataDir: directory, handleExit: false, guardTimeoutMs: 60_000 }
    await using trail = createAuditTrail(options)
    const session = trail.startSession()
    const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
    expect(await session.guard(payment, () => 'paid', { approval })).toBe('paid')
    await expect(
      session.guard(payment, () => 'paid', { approval: () => ({ ...yes, approver_id: 'lee' }) }),
    ).rejects.toMatchObject({
      code: 'APPROVAL_UNVERIFIED',
    })
    vi.stubEnv('AUDIT_APPROVAL_TRUST_FILE', join(directory, 'none'))
    expect(() => createAuditTrail(options)).toThrow(/AUDIT_APPROVAL_TRUST_FILE: .*ENOENT/)
    vi.stubEnv('AUDIT_APPROVAL_TRUST_FILE', '')
    vi.stubEnv('AUDIT_APPROVAL_TRUST_ROOT', keys.kim.signer.vkey)
    expect(() => createAuditTrail(options)).toThrow(/AUDIT_APPROVAL_TRUST_ROOT: expected AUDIT_APPROVAL_TRUST_FILE/)
    vi.unstubAllEnvs()
  })
})
