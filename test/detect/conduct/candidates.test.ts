/** The engine reads only candidates: a session that gives a finding has to be one, by the SQL of each detector. */
import { sessionTrail } from '@agent-audit/analytics'
import { candidatesOf, DETECTORS, type Session } from '@agent-audit/detect'
import { expect, it } from 'vitest'
import { type SeedRow, seedEvents } from '../../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../../analytics/support.ts'
import { sha256 } from '../../producer/support.ts'
import { detector, find } from './support.ts'

type Row = SeedRow & { readonly event_type: string }
const APPROVAL = '01900000-0000-7000-8000-00000000aaaa'
const repeat = (count: number, rows: (index: number) => Row[]): Row[] =>
  Array.from({ length: count }, (_, index) => rows(index)).flat()

const tool = (input: string, result: SeedRow): Row[] => {
  const about = { tool_name: 'search', tool_call_id: input }
  return [
    { event_type: 'tool_call', outcome: 'allowed', tool_input: input, arguments_sha256: sha256(input), ...about },
    { event_type: 'tool_result', ...about, ...result },
  ]
}
const found = (input: number): Row[] => tool(`${input}`, { outcome: 'success', tool_output: `found ${input}` })
const needs = (more: SeedRow): Row => ({ event_type: 'tool_call', tool_name: 'pay', requires_approval: true, ...more })
const decision = (more: SeedRow): Row => ({ event_type: 'approval_decision', approval_status: 'approved', ...more })
const override = (more: SeedRow): Row => ({
  event_type: 'human_intervention',
  event_id: APPROVAL,
  tool_name: 'pay',
  outcome: 'allowed',
  ...more,
})
const underOverride: Row = needs({ requires_approval: false, outcome: 'allowed', parent_event_id: APPROVAL })
const refused: Row = { event_type: 'sandbox_crossing', outcome: 'denied', content: '{"resource":"a"}' }

/** As short as the detector's limits let it be; records of other producers among them, which leave fields out. */
const SHORTEST: readonly (readonly [name: string, how: string, rows: Row[]])[] = [
  ['loop.repeated_call', 'four equal calls', repeat(4, () => found(1))],
  ['loop.cycle', 'three rounds of two', repeat(6, (index) => found(index % 2))],
  ['loop.cycle', 'three rounds of four', repeat(12, (index) => found(index % 4))],
  ['loop.equal_errors', 'by outcome', repeat(4, (index) => tool(`${index}`, { outcome: 'error', error: 'no' }))],
  ['loop.equal_errors', 'by the error alone', repeat(4, (index) => tool(`${index}`, { error: 'no' }))],
  ['loop.no_progress', 'without order', [0, 1, 2, 0, 2, 1, 1, 0, 2, 0, 1, 2, 2].flatMap(found)],
  ['loop.step_limit', 'a timeout', [{ event_type: 'session_timeout', reason: 'max_steps' }]],
  [
    'loop.step_limit',
    'an end that names a limit',
    [{ event_type: 'session_end', outcome: 'error', reason: 'Max_turns reached' }],
  ],
  [
    'approval.bypass',
    'near a rejection whose request is not on record',
    [
      decision({ approval_status: 'rejected', tool_name: 'pay', tool_input: '{"eur":100}' }),
      needs({ requires_approval: false, outcome: 'allowed', tool_input: '{"eur":101}' }),
    ],
  ],
  ['approval.bypass', 'no approval', [needs({ outcome: 'allowed' })]],
  ['approval.bypass', 'no approval, no outcome', [needs({})]],
  ['approval.bypass', 'override used twice', [override({}), underOverride, underOverride]],
  ['approval.self', 'by the agent', [decision({ approver_id: 'support' })]],
  ['approval.self', 'marked, approver left out', [decision({ approval: '{"self_approval":true}' })]],
  ['approval.no_identity_source', 'decision', [decision({ approver_id: 'kim' })]],
  ['approval.no_identity_source', 'override that names no approver', [override({})]],
  ['sandbox.denied_burst', 'five refused', repeat(5, () => [refused])],
  ['sandbox.denied_crossing', 'one refused', [refused]],
]
const CONDUCT = DETECTORS.filter(({ name, unit }) => unit === 'session' && /^(loop|approval|sandbox)\./.test(name)).map(
  ({ name }) => name,
)
/** Shorter than the detectors' limits, with limits that an operator lowered: a finding, and so a candidate. */
const LOWERED: readonly (readonly [name: string, rows: Row[], limits: Record<string, number>])[] = [
  ['loop.repeated_call', repeat(2, () => found(1)), { repeats: 2 }],
  ['loop.cycle', repeat(4, (index) => found(index % 2)), { repeats: 2 }],
  ['loop.equal_errors', repeat(2, (index) => tool(`${index}`, { error: 'no' })), { errors: 2 }],
  ['loop.no_progress', [0, 1, 2, 0, 2, 1].flatMap(found), { calls: 3 }],
  ['sandbox.denied_burst', repeat(2, () => [refused]), { refused: 2 }],
]
const QUIET: Row[] = [
  { event_type: 'session_start' },
  ...found(1),
  ...found(2),
  { event_type: 'session_end', outcome: 'success' },
]

it.skipIf(NO_CLICKHOUSE !== undefined)(
  `a session that gives a finding is a candidate of its detector ${NO_CLICKHOUSE ?? ''}`,
  async () => {
    const trail = await (await startTestServer()).newTrail()
    const cases = [...SHORTEST.map(([, , events]) => events), QUIET, ...LOWERED.map(([, events]) => events)]
    const rows = cases.flatMap((events, at) =>
      events.map((row, second) => ({
        timestamp: new Date(Date.UTC(2026, 10, 24, 10, 0, second)).toISOString().slice(0, -1).replace('T', ' '),
        session_id: `s${at}`,
        ...row,
      })),
    )
    await seedEvents(
      trail.server,
      rows.map((row, index) => ({ log_offset: index, ...row })),
    )
    const missed: string[] = []
    for (const [at, [name, how]] of SHORTEST.entries()) {
      const events = await sessionTrail(trail, `s${at}`)
      const session: Session = { session_id: `s${at}`, agent_id: 'support', events }
      expect(find(name, session), `${name}: ${how}`).not.toEqual([])
      if (!(await wantedBy(name)).includes(`s${at}`)) missed.push(`${name}: ${how}`)
    }
    for (const [index, [name, , limits]] of LOWERED.entries()) {
      const session_id = `s${SHORTEST.length + 1 + index}`
      const session: Session = { session_id, agent_id: 'support', events: await sessionTrail(trail, session_id) }
      expect(find(name, session), `${name} at its own limits`).toEqual([])
      const thresholds = { ...detector(name).thresholds, ...limits }
      expect(detector(name).find(session, thresholds), `${name} at lower limits`).not.toEqual([])
      if (!(await sessionsWith(candidatesOf(detector(name), thresholds))).includes(session_id)) missed.push(name)
    }
    expect(missed).toEqual([])
    expect(await wantedBy(...CONDUCT)).not.toContain(`s${SHORTEST.length}`)

    function wantedBy(...names: string[]): Promise<string[]> {
      return sessionsWith(names.map((name) => `(${candidatesOf(detector(name))})`).join(' OR '))
    }

    async function sessionsWith(wanted: string): Promise<string[]> {
      const sql = `SELECT session_id FROM {database:Identifier}.audit_events GROUP BY session_id HAVING ${wanted}`
      return (await trail.rows<{ session_id: string }>(sql)).map(({ session_id }) => session_id)
    }
  },
)

it('every detector of sessions about conduct has a shortest session here', () => {
  expect(new Set(SHORTEST.map(([name]) => name))).toEqual(new Set(CONDUCT))
})
