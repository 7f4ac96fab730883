/** What the detectors of activity say of hand-made rows: when there is a finding, and when there is none. */
import { DETECTORS, type Finding, type QueryWindow, type Thresholds } from '@agent-audit/detect'
import { describe, expect, it } from 'vitest'

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** A Tuesday. */
const SINCE = new Date('2026-11-24T00:00:00Z')
const window: QueryWindow = { agents: ['a'], since: SINCE, until: new Date(SINCE.getTime() + DAY) }
/** Hours since 1970 of the 30 days before the window and of its day. */
const HOURS = Array.from({ length: 31 * 24 }, (_, index) => SINCE.getTime() / HOUR - 30 * 24 + index)
const hourAt = (hour: number): number => SINCE.getTime() / HOUR + hour

function find(name: string, row: object, thresholds: Thresholds = {}): Finding[] {
  const detector = DETECTORS.find((each) => each.name === name)
  if (detector?.unit !== 'query') throw new Error(`no query detector ${name}`)
  const parsed = detector.schema.parse({ agent_id: 'a', ...row })
  return detector.find([parsed as never], { ...detector.thresholds, ...thresholds }, window)
}

/** An agent with 20 events and 2 sessions each hour, changed at some hours. */
function hourly(
  change: Record<number, { events?: number; sessions?: number }>,
  top: Record<number, string> = {},
  hours: number[] = HOURS,
): object {
  const at = (hour: number): { events?: number; sessions?: number } => change[hour - hourAt(0)] ?? {}
  const largest = Object.entries(top)
  return {
    hours,
    events: hours.map((hour) => at(hour).events ?? 20),
    sessions: hours.map((hour) => at(hour).sessions ?? 2),
    top_hours: largest.map(([hour]) => hourAt(Number(hour))),
    top_sessions: largest.map(([, sessions]) => sessions),
    top_ids: largest.map(() => 'e1 e2'),
  }
}

describe('sessions', () => {
  it('of a burst of three hours are one finding, named by its first hour', () => {
    const burst = { 10: { sessions: 60 }, 11: { sessions: 60 }, 12: { sessions: 60 } }
    expect(find('rate.sessions', hourly(burst)).map(({ cause }) => cause)).toEqual(['a/2026-11-24T10:00:00Z/sessions'])
  })

  it('of two bursts with quiet hours between are two findings', () => {
    const bursts = { 2: { sessions: 60 }, 16: { sessions: 60 } }
    expect(find('rate.sessions', hourly(bursts))).toHaveLength(2)
  })

  it('of a habit are none: the same hour of the last four weeks was as high', () => {
    const days = [0, 7, 14, 21, 28]
    const habit = Object.fromEntries(days.map((day) => [10 - 24 * day, { sessions: 60 }]))
    expect(find('rate.sessions', hourly(habit))).toEqual([])
  })

  it('an hour late are none: clocks change', () => {
    const days = Array.from({ length: 30 }, (_, index) => index + 1)
    const peaks = Object.fromEntries([...days.map((day) => [10 - 24 * day, { sessions: 60 }]), [9, { sessions: 60 }]])
    expect(find('rate.sessions', hourly(peaks))).toEqual([])
  })

  it('of an agent without history are none', () => {
    expect(find('rate.sessions', hourly({ 10: { sessions: 60 } }, {}, HOURS.slice(-5 * 24)))).toEqual([])
  })
})

describe('events', () => {
  it('of three large sessions are a finding', () => {
    const top = { 10: 'x:90 y:90 z:90' }
    expect(find('rate.events', hourly({ 10: { events: 270, sessions: 3 } }, top))).toHaveLength(1)
  })

  it('of one long session are none', () => {
    const top = { 10: 'x:250 y:10' }
    expect(find('rate.events', hourly({ 10: { events: 270, sessions: 3 } }, top))).toEqual([])
  })

  it('of one long session beside two of twice the usual size are none', () => {
    const top = { 10: 'x:200 y:25 z:25' }
    expect(find('rate.events', hourly({ 10: { events: 250, sessions: 3 } }, top))).toEqual([])
  })

  it('that more sessions explain are none', () => {
    const top = { 10: 'x:30 y:30 z:30' }
    expect(find('rate.events', hourly({ 10: { events: 270, sessions: 27 } }, top))).toEqual([])
  })
})

/** An agent with 38 attempts each hour, of which one in a hundred fails, and with errors of as many sessions from 10 o'clock on. */
function failing(failed: number[]): object {
  const errors = HOURS.map((hour) => failed[hour - hourAt(10)] ?? Number(hour % 5 < 2))
  return {
    hours: HOURS,
    attempts: HOURS.map(() => 38),
    errors,
    top_hours: HOURS,
    top_errors: errors.map((count) => Math.min(1, count)),
    top_ids: HOURS.map(() => 'e1'),
  }
}

describe('errors', () => {
  it('of which twelve come where one is usual are a finding', () => {
    expect(find('rate.errors', failing([4, 4, 4]))).toMatchObject([{ cause: 'a/2026-11-24T11:00:00Z/errors' }])
  })

  it('of which seven come where one is usual are none: of thousands of hours some have that by chance', () => {
    expect(find('rate.errors', failing([3, 2, 2]))).toEqual([])
  })
})

describe('a budget', () => {
  const cost = { hours: HOURS, usd: HOURS.map(() => 1), unpriced: HOURS.map(() => 0), dearest: HOURS.map(() => 'e1') }

  it('that is not given gives no finding', () => {
    expect(find('budget.ahead', cost)).toEqual([])
  })

  it('of less than the forecast is told before it is spent', () => {
    const [finding] = find('budget.ahead', cost, { usd_a_month: 650 })
    expect(finding?.cause).toBe('a/2026-11/usd_a_month')
    expect(Number(finding?.signals.find(({ name }) => name === 'spent_usd')?.value)).toBeLessThan(650)
  })

  it('of more than the forecast gives no finding', () => {
    expect(find('budget.ahead', cost, { usd_a_month: 760 })).toEqual([])
  })
})

describe('a mix of tools', () => {
  const DAYS = Array.from({ length: 29 }, (_, index) => SINCE.getTime() / DAY - 28 + index)
  /** 50 calls of x and 50 of y a day; on the last day as given. */
  function mix(last: { x: number; y: number }, configuration = '1.0\tm\tab'): object {
    const today = SINCE.getTime() / DAY
    const rows = DAYS.flatMap((day) => [
      { day, tool: 'x', n: day === today ? last.x : 50 },
      { day, tool: 'y', n: day === today ? last.y : 50 },
    ])
    return {
      days: rows.map(({ day }) => day),
      configurations: rows.map(({ day }) => (day === today ? configuration : '1.0\tm\tab')),
      categories: rows.map(({ tool }) => tool),
      counts: rows.map(({ n }) => n),
      samples: ['x', 'y'],
      sample_ids: ['ex', 'ey'],
    }
  }

  it('that moved is a finding, with an event of the tool that moved', () => {
    const [finding] = find('drift.tools', mix({ x: 90, y: 10 }))
    expect(finding).toMatchObject({ cause: 'a/2026-11-24/mix of tools', evidence: ['ex', 'ey'] })
  })

  it('of few calls is none, however far it moved', () => {
    expect(find('drift.tools', mix({ x: 28, y: 0 }))).toEqual([])
  })

  it('that moved with a change of version names the change', () => {
    const [finding] = find('drift.tools', mix({ x: 90, y: 10 }, '1.1\tm\tab'))
    expect(finding?.summary).toContain('version 1.0 -> 1.1')
  })

  it('that stayed through a change of version is none', () => {
    expect(find('drift.tools', mix({ x: 52, y: 48 }, '1.1\tm\tab'))).toEqual([])
  })
})

describe('a new tool', () => {
  const seconds = SINCE.getTime() / 1000
  function tools(calls: number[], version = '1.0'): object {
    return {
      tools: [...calls.map((_, index) => `t${index}`), 'new'],
      first: [...calls.map((_, index) => seconds - (29 - index) * 86_400), seconds + 60],
      calls: [...calls, 1],
      first_ids: [...calls, 1].map((_, index) => `e${index}`),
      first_versions: [...calls.map(() => '1.0'), version],
      versions: ['1.0', '2.0'],
      versions_first: [seconds - 30 * 86_400, seconds],
    }
  }

  it('is a finding that shows its first call', () => {
    expect(find('drift.new_tool', tools([100, 100]))).toMatchObject([
      { cause: 'a/new', severity: 'medium', evidence: ['e2'] },
    ])
  })

  it('that comes with a new version is a hint', () => {
    expect(find('drift.new_tool', tools([100, 100], '2.0'))).toMatchObject([{ severity: 'info' }])
  })

  it('of an agent that calls ever new tools is none', () => {
    expect(find('drift.new_tool', tools([100, 1, 1, 1, 1, 1, 1, 1, 1, 1]))).toEqual([])
  })
})

describe('another prompt', () => {
  const seconds = SINCE.getTime() / 1000
  function prompts(versions: [string, string], last = seconds - 60): object {
    return {
      kinds: ['prompt', 'prompt'],
      values: ['aa', 'bb'],
      versions,
      first: [seconds - 20 * 86_400, seconds + 60],
      last: [last, seconds + 90],
      first_ids: ['e1', 'e2'],
    }
  }

  it('under the same version is a finding', () => {
    expect(find('drift.unversioned_change', prompts(['1.0', '1.0']))).toMatchObject([
      { cause: 'a/1.0/prompt/bb', evidence: ['e2', 'e1'] },
    ])
  })

  it('with another version is none', () => {
    expect(find('drift.unversioned_change', prompts(['1.0', '1.1']))).toEqual([])
  })
})

/** Two sessions in each hour but some. */
function speaking(isSilent: (hour: number) => boolean): object {
  const hours = HOURS.filter((hour) => !isSilent(hour - hourAt(0)))
  return { hours, events: hours.map(() => 20), sessions: hours.map(() => 2), last_hours: [hourAt(5)], last_ids: ['e1'] }
}

describe('silence', () => {
  it('of an agent that is always active is a finding, named by its first hour', () => {
    expect(
      find(
        'silence.agent',
        speaking((hour) => hour >= 6),
      ),
    ).toMatchObject([{ cause: 'a/silent since 2026-11-24T06:00:00Z', evidence: ['e1'] }])
  })

  it('at hours at which it never acts is none', () => {
    expect(
      find(
        'silence.agent',
        speaking((hour) => ((hour % 24) + 24) % 24 >= 6),
      ),
    ).toEqual([])
  })

  it('of two hours is none', () => {
    expect(
      find(
        'silence.agent',
        speaking((hour) => hour >= 6 && hour < 8),
      ),
    ).toEqual([])
  })
})
