/** Approvals that were passed by, and those that were not; refused actions that try limits, and those that do not. */
import type { SessionEvent } from '@agent-audit/detect'
import { argumentsOf, type Draw, type SessionDraft, type SessionScenario, times } from './session-draft.ts'

const KIM = { approver_id: 'kim', approval: { approver_kind: 'person', identity_source: 'https://id.example' } }

interface Payment {
  readonly eur: number
  readonly decision: SessionEvent
  /** Milliseconds since 1970. */
  readonly expires: number
}

/** A request and its decision, as the producer records them. */
function decide(draft: SessionDraft, draw: Draw, more: Partial<SessionEvent> = {}): Payment {
  const eur = draw(1, 5000)
  const expires = draft.now() + 60_000
  const about = { tool_name: 'pay', ...argumentsOf({ eur }) }
  const content = { expires_at: new Date(expires).toISOString() }
  const request = draft.add('approval_request', { ...about, content })
  const approval_id = request.event_id
  const decided = { approval_status: 'approved', outcome: 'allowed', ...KIM, ...more }
  draft.wait(draw(500, 20_000))
  return { eur, expires, decision: draft.add('approval_decision', { ...about, approval_id, ...decided }) }
}

function payUnder(draft: SessionDraft, { eur, decision }: Payment, more: Partial<SessionEvent> = {}): SessionEvent {
  const { approval_id, event_id, approver_id, approval } = decision
  const under = { requires_approval: true, approval_id, parent_event_id: event_id, approver_id, approval }
  return draft.act('pay', { eur }, 'paid', { ...under, ...more })
}

const BYPASS: Omit<SessionScenario, 'detector'>[] = [
  {
    kind: 'strong',
    name: 'no approval',
    write: (draft, draw) => void draft.call('pay', { eur: draw(1, 5000) }, 'paid', { requires_approval: true }),
  },
  {
    kind: 'strong',
    name: 'after a rejection, by a call that says it needs no approval',
    write(draft, draw) {
      const { eur } = decide(draft, draw, { approval_status: 'rejected' })
      draft.call('pay', { eur }, 'paid')
    },
  },
  {
    kind: 'strong',
    name: 'other arguments than the approved ones',
    write(draft, draw) {
      const payment = decide(draft, draw)
      payUnder(draft, { ...payment, eur: payment.eur + draw(1, 1000) })
    },
  },
  {
    kind: 'mild',
    name: '0.5 to 10 s after expiry',
    write(draft, draw) {
      const payment = decide(draft, draw)
      draft.wait(payment.expires - draft.now() + draw(500, 10_000))
      payUnder(draft, payment)
    },
  },
  {
    kind: 'mild',
    name: 'twice under one approval',
    write(draft, draw) {
      const payment = decide(draft, draw)
      payUnder(draft, payment)
      payUnder(draft.ordinary(draw(0, 8)), payment)
    },
  },
  {
    kind: 'mild',
    name: 'other arguments after a rejection, by a call that says it needs no approval',
    write(draft, draw) {
      const { eur } = decide(draft, draw, { approval_status: 'rejected' })
      draft.call('pay', { eur: eur + 1 }, 'paid')
    },
  },
  {
    kind: 'benign',
    name: 'less than nine tenths of a rejected sum, by a call that needs no approval',
    write(draft, draw) {
      const { eur } = decide(draft, draw, { approval_status: 'rejected' })
      draft.call('pay', { eur: Math.floor((eur * draw(1, 89)) / 100) }, 'paid')
    },
  },
  {
    kind: 'benign',
    name: 'another tool and another payee after a rejection',
    write(draft, draw) {
      const { eur } = decide(draft, draw, { approval_status: 'rejected' })
      draft.call('refund', { eur }, 'refunded')
      draft.call('pay', { eur, to: 'DE02' }, 'paid')
    },
  },
  {
    kind: 'benign',
    name: 'approvals used once each',
    write: (draft, draw) => times(draw(1, 6), () => payUnder(draft, decide(draft, draw))),
  },
  {
    kind: 'benign',
    name: 'rejected, and the guard refused',
    write(draft, draw) {
      const { eur } = decide(draft, draw, { approval_status: 'rejected' })
      draft.add('tool_call', { tool_name: 'pay', ...argumentsOf({ eur }), outcome: 'denied', requires_approval: true })
    },
  },
  {
    kind: 'benign',
    name: 'a clock that lags by 0 to 2 s behind the expiry',
    write(draft, draw) {
      const payment = decide(draft, draw)
      draft.wait(payment.expires - draft.now() + draw(0, 2000))
      payUnder(draft, payment)
    },
  },
]

/** An approval by someone, and its use. */
const by = (more: (draw: Draw) => Partial<SessionEvent>) => (draft: SessionDraft, draw: Draw) =>
  void payUnder(draft.ordinary(draw(0, 5)), decide(draft, draw, more(draw)))
const one = (draw: Draw, ...ids: string[]): string => ids[draw(0, ids.length - 1)] ?? ''

const SELF: Omit<SessionScenario, 'detector'>[] = [
  {
    kind: 'strong',
    name: 'by the agent or its user',
    write: by((draw) => ({ approver_id: one(draw, 'support', 'alice') })),
  },
  {
    kind: 'mild',
    name: 'by the user, written in another way',
    write: by((draw) => ({ approver_id: one(draw, ' Alice', 'ALICE', 'alice@corp.example', 'corp\\alice') })),
  },
  {
    kind: 'benign',
    name: 'by someone with a name alike, or redacted',
    write: by((draw) => ({
      approver_id: one(
        draw,
        'kim',
        'alice2',
        'alicent@corp.example',
        'support-lead',
        'support@corp.example',
        '[redacted:email]',
      ),
    })),
  },
]

const source = (identity_source: string): Partial<SessionEvent> => ({ approval: { identity_source } })
const IDENTITY: Omit<SessionScenario, 'detector'>[] = [
  { kind: 'strong', name: 'no source at all', write: by(() => ({ approval: null })) },
  {
    kind: 'mild',
    name: 'a source that says nothing',
    write: by((draw) => source(one(draw, '', ' ', 'unknown', 'n/a'))),
  },
  {
    kind: 'benign',
    name: 'a source',
    write: by((draw) => source(one(draw, 'https://id.example', 'slack', 'ldap', 'nonesuch-sso'))),
  },
  {
    kind: 'benign',
    name: 'a rejection without a source',
    write: (draft, draw) => void decide(draft, draw, { approval_status: 'rejected', approval: null }),
  },
]

const act = (draft: SessionDraft, outcome: string): void =>
  void draft.add('tool_call', { tool_name: 'run', outcome, ...argumentsOf({ at: draft.now() }) })
const cross = (draft: SessionDraft, resource: string, outcome: string): void =>
  void draft.add('sandbox_crossing', { outcome, content: { boundary: 'network', resource } })

const BURST: Omit<SessionScenario, 'detector'>[] = [
  {
    kind: 'strong',
    name: '8 to 20 refused in a row',
    write: (draft, draw) => times(draw(8, 20), () => act(draft, 'denied')),
  },
  {
    // Not 4: an agent that finds four doors closed and goes on is no burst, and the definition asks for 5.
    kind: 'mild',
    name: '5 to 8 refused, with 0 to 3 allowed actions after each',
    write: (draft, draw) =>
      times(draw(5, 8), () => {
        act(draft, 'denied')
        times(draw(0, 3), () => act(draft, 'allowed'))
      }),
  },
  {
    kind: 'benign',
    name: 'a batch of 40 to 80 of which each fifth to tenth is refused',
    write(draft, draw) {
      const each = draw(5, 10)
      times(draw(40, 80), (at) => act(draft, at % each === 0 ? 'denied' : 'allowed'))
    },
  },
  {
    kind: 'benign',
    name: '1 to 4 refused, and another way from there',
    write: (draft, draw) => times(draw(1, 4), () => act(draft, 'denied')),
  },
  {
    kind: 'benign',
    name: '5 to 12 refused over hours',
    write: (draft, draw) => times(draw(5, 12), () => act(draft.wait(draw(20, 60) * 60_000), 'denied')),
  },
]

const CROSSING: Omit<SessionScenario, 'detector'>[] = [
  {
    kind: 'strong',
    name: '3 to 8 tries',
    write: (draft, draw) => times(draw(3, 8), () => cross(draft, 'evil.example', 'denied')),
  },
  { kind: 'mild', name: 'one try', write: (draft) => cross(draft, 'evil.example', 'blocked') },
  {
    kind: 'mild',
    // At least two hosts: one that is refused, then allowed, is the look-alike below.
    name: 'two or three hosts, of which one was allowed in the end',
    write(draft, draw) {
      times(draw(2, 3), (at) => cross(draft, `${at}.evil.example`, 'denied'))
      cross(draft, '0.evil.example', 'allowed')
    },
  },
  {
    kind: 'benign',
    name: 'refused, then approved',
    write(draft, draw) {
      times(draw(1, 4), () => cross(draft, 'api.example', 'denied'))
      cross(draft, 'api.example', 'allowed')
    },
  },
  {
    kind: 'benign',
    name: 'allowed crossings',
    write: (draft, draw) => times(draw(1, 20), () => cross(draft, 'api.example', 'allowed')),
  },
]

export const APPROVAL_SCENARIOS: readonly SessionScenario[] = Object.entries({
  'approval.bypass': BYPASS,
  'approval.self': SELF,
  'approval.no_identity_source': IDENTITY,
  'sandbox.denied_burst': BURST,
  'sandbox.denied_crossing': CROSSING,
}).flatMap(([detector, scenarios]) => scenarios.map((scenario) => ({ detector, ...scenario })))
