/** A guard with a trust file runs nothing on a decision whose signature does not count. */
import { readFileSync, rmSync } from 'node:fs'
import type { ApprovalDecision, AuditSession } from '@agent-audit/producer'
import { openTrust, verifyApproval } from '@agent-audit/seals'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { changed } from '../../seals/seal-arbitraries.ts'
import { takeSeed } from '../../support/seed.ts'
import { carried, payment, recordOf, yes } from './approval-support.ts'
import { keys, makeKey, makeTrustFile, openDesk, resigned, TRUST, trusted, withSignature } from './signing-support.ts'

const other = { ...payment, tool_input: { to: 'DE99', eur: 1200 } }

describe('a signed decision', () => {
  it.each(['desk', 'kim'] as const)(
    'of the key %s runs the call once, and is on record with its signature',
    async (name) => {
      const trust = makeTrustFile()
      const { rows, run } = await recordOf(
        async (session, trail, pay) => {
          const approval = carried(await trail.decideApproval(carried(await session.requestApproval(payment)), yes))
          await session.guard(payment, pay, { approval })
          await expect(session.guard(payment, pay, { approval })).rejects.toMatchObject({ code: 'APPROVAL_USED' })
        },
        { approvalSigning: { key: keys[name].pem }, approvalTrust: { file: trust.path } },
      )
      expect(run).toHaveBeenCalledTimes(1)
      const [request, decision, call] = rows
      const { signature } = (decision?.['approval'] ?? {}) as { signature: string }
      expect(call).toMatchObject({ event_type: 'tool_call', outcome: 'allowed', approval: { signature } })
      const verified = verifyApproval(signature, openTrust(readFileSync(trust.path, 'utf8')), Date.now())
      expect(verified).toMatchObject({
        key: { key: { name: keys[name].signer.keyName } },
        approval: {
          id: request?.event_id,
          sessionId: 's1',
          toolName: 'pay',
          decision: 'approved',
          approverId: 'kim',
          approverKind: 'person',
          identitySource: 'https://id.example',
          argumentsSha256: call?.['arguments_sha256'],
          shownSha256: request?.['arguments_sha256'],
          askedSha256: undefined,
        },
      })
    },
  )

  it('of another process runs the call', async () => {
    const { session, decision, pay } = await decided()
    await session.guard(payment, pay, { approval: carried(decision) })
    expect(pay).toHaveBeenCalledTimes(1)
  })

  it('signs the modified arguments, and these run', async () => {
    const { session, desk, pay } = await decided()
    const less = { to: 'DE02', eur: 900 }
    const request = await session.requestApproval(payment)
    const decision = carried(await desk.decideApproval(request, { ...yes, modified_input: less }))
    const { modified } = decision
    const more = {
      ...decision,
      modified: { requested_sha256: modified?.requested_sha256 ?? '', tool_input: payment.tool_input },
    }
    expect(await runsRefused(session, { decision: more, code: 'APPROVAL_ALTERED' })).toBe(0)
    const asked = { ...decision, modified: { tool_input: less, requested_sha256: 'ab'.repeat(32) } }
    expect(
      await runsRefused(session, { decision: asked, code: 'APPROVAL_UNVERIFIED', why: 'modified.requested_sha256' }),
    ).toBe(0)
    await session.guard(payment, pay, { approval: decision })
    expect(pay.mock.calls).toEqual([[less]])
  })

  it('is refused after its expiry', async () => {
    let now = new Date()
    const { session, decision } = await decided({ now: () => now })
    now = new Date(Date.parse(decision.expires_at))
    expect(await runsRefused(session, { decision, code: 'APPROVAL_EXPIRED' })).toBe(0)
  })

  it('that rejects needs no signature, and runs nothing', async () => {
    const { session, agent } = await decided()
    const decision = await agent.decideApproval(await session.requestApproval(payment), {
      ...yes,
      approval_status: 'rejected',
    })
    expect(await runsRefused(session, { decision, code: 'APPROVAL_REJECTED' })).toBe(0)
  })
})

type Forge = (decision: ApprovalDecision, another: ApprovalDecision) => ApprovalDecision

describe('a decision is refused, and the refusal recorded:', () => {
  it.each<[string, Forge, string, string]>([
    ['a stripped signature', (decision) => withSignature(decision, undefined), 'APPROVAL_UNSIGNED', 'not signed'],
    ['no note', (decision) => withSignature(decision, 'yes'), 'APPROVAL_UNVERIFIED', 'expected an empty line'],
    [
      'the signature of another request',
      (decision, another) => withSignature(decision, another.approval.signature),
      'APPROVAL_UNVERIFIED',
      'approval_id',
    ],
    [
      'another approval_id',
      (decision, another) => ({ ...decision, approval_id: another.approval_id }),
      'APPROVAL_UNVERIFIED',
      'approval_id differ',
    ],
    [
      'another session',
      (decision) => ({ ...decision, session_id: 'elsewhere' }),
      'APPROVAL_UNVERIFIED',
      'session_id differ',
    ],
    ['another tool', (decision) => ({ ...decision, tool_name: 'wire' }), 'APPROVAL_UNVERIFIED', 'tool_name differ'],
    [
      'another digest',
      (decision) => ({ ...decision, arguments_sha256: 'ab'.repeat(32) }),
      'APPROVAL_UNVERIFIED',
      'arguments_sha256 differ',
    ],
    [
      'a later expiry',
      (decision) => ({ ...decision, expires_at: '2099-01-01T00:00:00.000Z' }),
      'APPROVAL_UNVERIFIED',
      'expires_at differ',
    ],
    [
      'another approver',
      (decision) => ({ ...decision, approver_id: 'lee' }),
      'APPROVAL_UNVERIFIED',
      'approver_id differ',
    ],
    [
      'another source of identity',
      (decision) => ({ ...decision, approval: { ...decision.approval, identity_source: 'os' } }),
      'APPROVAL_UNVERIFIED',
      'approval.identity_source differ',
    ],
    [
      'another kind of approver',
      (decision) => ({ ...decision, approval: { ...decision.approval, approver_kind: 'policy' } }),
      'APPROVAL_UNVERIFIED',
      'approval.approver_kind differ',
    ],
    [
      'another text shown',
      (decision) => ({ ...decision, approval: { ...decision.approval, shown_sha256: 'ab'.repeat(32) } }),
      'APPROVAL_UNVERIFIED',
      'approval.shown_sha256 differ',
    ],
    [
      'a note that was changed',
      (decision) => withSignature(decision, decision.approval.signature?.replace('decided 2', 'decided 1')),
      'APPROVAL_UNVERIFIED',
      'is wrong',
    ],
    [
      'a key that no file names, under the name of one',
      (decision) => resigned(decision, keys.stranger),
      'APPROVAL_UNVERIFIED',
      'the trust file has no key',
    ],
    [
      'a key of another role',
      (decision) => resigned(decision, keys.producer),
      'APPROVAL_UNVERIFIED',
      'has the role producer',
    ],
    [
      'the key of another approver',
      (decision) => resigned(decision, keys.lee),
      'APPROVAL_UNVERIFIED',
      'may not sign for "kim"',
    ],
    [
      'an override in the place of an approval',
      (decision) => resigned(decision, keys.desk, { decision: 'overridden', shownSha256: undefined }),
      'APPROVAL_UNVERIFIED',
      'approval_status',
    ],
  ])('%s', async (_, forge, code, why) => {
    const { session, decision, another, agent } = await decided()
    expect(await runsRefused(session, { decision: carried(forge(decision, another)), code, why })).toBe(0)
    expect(agent.events({ event_type: 'tool_call' })).toMatchObject([
      { outcome: 'denied', reason_code: 'approval_unverified', approver_id: expect.any(String) },
    ])
  })

  it('a rejection that was made an approval', async () => {
    const { session, desk } = await decided()
    const rejected = await desk.decideApproval(await session.requestApproval(payment), {
      ...yes,
      approval_status: 'rejected',
    })
    const decision: ApprovalDecision = { ...rejected, approval_status: 'approved' }
    expect(await runsRefused(session, { decision, code: 'APPROVAL_UNVERIFIED', why: 'approval_status differ' })).toBe(0)
  })

  it('one that was made for other arguments, with the call to match', async () => {
    const { session, desk, decision } = await decided()
    const small = await desk.decideApproval(await session.requestApproval(other), yes)
    const stolen = { ...small, approval: decision.approval }
    expect(
      await runsRefused(session, {
        decision: stolen,
        code: 'APPROVAL_UNVERIFIED',
        why: 'arguments_sha256',
        call: other,
      }),
    ).toBe(0)
    expect(
      await runsRefused(session, { decision, code: 'APPROVAL_ALTERED', why: 'other arguments', call: other }),
    ).toBe(0)
  })
})

describe('a true decision is not used elsewhere:', () => {
  it('for another principal, in another session, in another trail, or a second time', async () => {
    const { session, agent, desk, trust, pay } = await decided()
    const ofAnna = { ...payment, on_behalf_of: 'anna' }
    const decision = carried(await desk.decideApproval(await session.requestApproval(ofAnna), yes))
    const differs = { decision, code: 'APPROVAL_UNVERIFIED', why: 'on_behalf_of differ' }
    expect(await runsRefused(session, { ...differs, call: { ...payment, on_behalf_of: 'bert' } })).toBe(0)
    expect(await runsRefused(session, { ...differs, call: payment })).toBe(0)
    const elsewhere = { decision, code: 'APPROVAL_ALTERED', why: 'another session', call: ofAnna }
    expect(await runsRefused(agent.startSession(), elsewhere)).toBe(0)
    const foreign = openDesk({ trust })
    expect(await runsRefused(foreign.agent.startSession(), elsewhere)).toBe(0)
    // Moved to that session: the signature says where it belongs.
    const there = foreign.agent.startSession()
    const moved = { ...elsewhere, decision: { ...decision, session_id: there.session_id } }
    expect(await runsRefused(there, { ...moved, code: 'APPROVAL_UNVERIFIED', why: 'session_id differ' })).toBe(0)
    await session.guard(ofAnna, pay, { approval: decision })
    expect(await runsRefused(session, { decision, code: 'APPROVAL_USED', call: ofAnna })).toBe(0)
    expect(pay).toHaveBeenCalledTimes(1)
  })
})

it('whatever is changed in it, a signed decision runs nothing else', async () => {
  const { session, decision } = await decided()
  const { signature = '' } = decision.approval
  const text = JSON.stringify({ ...decision, modified: undefined })
  const json = fc.oneof(
    changed(signature).map((note) => JSON.stringify(withSignature(decision, note))),
    changed(text),
  )
  await fc.assert(
    fc.asyncProperty(json, async (sent) => {
      let given: ApprovalDecision
      try {
        given = JSON.parse(sent) as ApprovalDecision
      } catch {
        return
      }
      if (readOf(given) === readOf(decision)) return
      const run = vi.fn<() => void>()
      await session.guard(payment, run, { approval: given }).catch(() => {})
      expect(run).not.toHaveBeenCalled()
    }),
    { seed: takeSeed('changed decisions'), numRuns: 1_000 },
  )
})

describe('the key counts by the clock of the guard:', () => {
  const HOUR = 3_600_000
  it.each([
    ['revoked', { revoked: Date.now() - HOUR }, 'is revoked'],
    ['before its window', { notBefore: Date.now() + HOUR }, 'is not yet valid'],
    ['after its window', { notAfter: Date.now() - HOUR }, 'is no longer valid'],
  ])('%s', async (_, change, why) => {
    const trust = makeTrustFile({ ...TRUST, keys: [trusted(keys.desk, change)] })
    const { session, decision } = await decided({ trust })
    expect(await runsRefused(session, { decision, code: 'APPROVAL_UNVERIFIED', why })).toBe(0)
  })

  it('revoked while the agent runs, and after a clock was set back', async () => {
    let now = new Date('2026-01-01T12:00:00Z')
    const trust = makeTrustFile({ ...TRUST, keys: [trusted(keys.desk, { notAfter: now.getTime() + 60_000 })] })
    const { session, decision, another, pay } = await decided({ trust, now: () => now })
    await session.guard(payment, pay, { approval: decision })
    now = new Date('2026-01-01T12:01:00Z')
    expect(await runsRefused(session, { decision: another, code: 'APPROVAL_UNVERIFIED', why: 'no longer valid' })).toBe(
      0,
    )
    now = new Date('2026-01-01T12:00:30Z')
    expect(await runsRefused(session, { decision: another, code: 'APPROVAL_UNVERIFIED', why: 'no longer valid' })).toBe(
      0,
    )
    trust.write({ ...TRUST, keys: [trusted(keys.desk, { revoked: 0 })] })
    expect(await runsRefused(session, { decision: another, code: 'APPROVAL_UNVERIFIED', why: 'is revoked' })).toBe(0)
    trust.write(TRUST)
    await session.guard(payment, pay, { approval: another })
    expect(pay).toHaveBeenCalledTimes(2)
  })
})

describe('a trust file that cannot be used', () => {
  it('stops the call, which is recorded as an error, and uses up no approval', async () => {
    const { session, decision, pay, trust, agent } = await decided()
    rmSync(trust.path)
    expect(await runsRefused(session, { decision, code: 'INPUT_UNREADABLE', why: 'ENOENT' })).toBe(0)
    expect(agent.events({ event_type: 'tool_call' })).toMatchObject([
      { outcome: 'error', reason: 'trust file failed: INPUT_UNREADABLE' },
    ])
    trust.write(TRUST)
    await session.guard(payment, pay, { approval: decision })
    expect(pay).toHaveBeenCalledTimes(1)
  })

  it('stops a trail at its start, and one that the root key has not signed stops it too', () => {
    const trust = makeTrustFile()
    const root = makeKey('root').signer.vkey
    const open = (options: object) => () => openDesk({ trust, ...options })
    expect(open({ approvalTrust: { file: trust.path, root } })).toThrow(/approvalTrust: .*has not signed it/)
    expect(open({ approvalTrust: { file: `${trust.path}.none` } })).toThrow(/approvalTrust: .*ENOENT/)
    expect(open({ approvalTrust: { file: trust.path, root: 'x' } })).toThrow(/approvalTrust: .*verifier key/)
    expect(open({ approvalSigning: { key: 'x' } })).toThrow(/approvalSigning: .*Key-Name/)
    expect(open({ approvalSigning: { keyFile: trust.path } })).toThrow(/approvalSigning: .*mode 0600/)
  })
})

it('without a trust file no signature is looked at', async () => {
  const { session, decision, pay } = await decided({ approvalTrust: undefined })
  await session.guard(payment, pay, { approval: withSignature(decision, 'forged') })
  expect(pay).toHaveBeenCalledTimes(1)
})

/** What a guard reads of a decision, in one form: other texts may say the same instant or the same UUID. */
function readOf(given: ApprovalDecision): string {
  const expires_at = Date.parse(given.expires_at)
  const approval = { ...given.approval, modified: 0, self_approval: 0 }
  return JSON.stringify({
    ...given,
    expires_at,
    approval_id: given.approval_id?.toLowerCase(),
    approval,
    event_id: 0,
    reason: 0,
  })
}

/** A session of an agent, and two decisions of the desk about its payment. */
async function decided(options: Parameters<typeof openDesk>[0] = {}) {
  const trails = openDesk(options)
  const session = trails.agent.startSession({ session_id: 's1' })
  const decide = async (): Promise<ApprovalDecision> =>
    carried(await trails.desk.decideApproval(carried(await session.requestApproval(payment)), yes))
  const [decision, another] = [await decide(), await decide()]
  return { ...trails, session, decision, another, pay: vi.fn<(input: unknown) => void>() }
}

interface Refusal {
  readonly decision: ApprovalDecision
  readonly code: string
  readonly why?: string
  readonly call?: (typeof payment | typeof other) & { readonly on_behalf_of?: string }
}

/** Guards a call that must be refused so. @returns How often its tool ran. */
async function runsRefused(
  session: AuditSession,
  { decision, code, why = '', call = payment }: Refusal,
): Promise<number> {
  const run = vi.fn<() => void>()
  const message = expect.stringContaining(why)
  await expect(session.guard(call, run, { approval: decision })).rejects.toMatchObject({ code, message })
  return run.mock.calls.length
}
