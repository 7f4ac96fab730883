/** Scenarios of made agents: clocks, lost events and tools here, where they go beside this. */
import { type AgentDraft, type StoredScenario } from './agent-draft.ts'
import { EXFILTRATION, RESOURCES } from './conduct-destinations.ts'
import { type Draw, times } from './session-draft.ts'

type Scenarios = Omit<StoredScenario, 'detector'>[]

/** A run of the judged day with so many minutes of events. */
const work = (draft: AgentDraft, minutes: number): void => {
  draft.begin(0)
  times(minutes * 2, (at) => draft.wait(25_000).call('get_order', { id: at }, `order ${at}`))
}
const clock = (draft: AgentDraft, aheadMs: number): void => void (draft.clock = { ...draft.clock, aheadMs })
const log = (draft: AgentDraft, delayMs: (at: number) => number): void => void (draft.clock = { aheadMs: 0, delayMs })

const SKEW: Scenarios = [
  {
    kind: 'strong',
    name: 'a clock 15 s to 2 h ahead',
    write(draft, draw) {
      clock(draft, draw(15, 7200) * 1000)
      work(draft, draw(3, 40))
    },
  },
  {
    kind: 'strong',
    name: 'a clock 5 min to 5 h behind',
    write(draft, draw) {
      clock(draft, -draw(300, 18_000) * 1000)
      work(draft, draw(15, 40))
    },
  },
  {
    kind: 'mild',
    name: 'a clock 7 to 12 s ahead',
    write(draft, draw) {
      clock(draft, draw(7000, 12_000))
      work(draft, draw(3, 20))
    },
  },
  {
    kind: 'mild',
    name: 'a clock 65 s to 4 min behind',
    write(draft, draw) {
      clock(draft, -draw(65, 240) * 1000)
      work(draft, draw(12, 40))
    },
  },
  {
    kind: 'benign',
    name: 'a clock up to 3 s off',
    write(draft, draw) {
      clock(draft, draw(-3000, 3000))
      work(draft, draw(3, 40))
    },
  },
  {
    kind: 'benign',
    name: 'a spool of 10 to 40 min that is sent at its end',
    write(draft, draw) {
      const minutes = draw(10, 40)
      draft.begin(0)
      // Sent at once, some time after the last of them.
      const sentAt = draft.now() + (minutes + draw(1, 30)) * 60_000
      log(draft, (at) => Math.max(500, sentAt - at))
      times(minutes * 2, (at) => draft.wait(20_000).call('get_order', { id: at }))
    },
  },
  {
    kind: 'benign',
    name: 'a log that falls behind by minutes and catches up',
    write(draft, draw) {
      const [worst, from] = [draw(2, 20) * 60_000, draft.events.length]
      log(draft, () => 200 + worst * Math.abs(Math.sin((draft.events.length - from) / 20)))
      work(draft, draw(15, 40))
    },
  },
  {
    kind: 'benign',
    name: 'a forwarder that sends each 1 to 3 min',
    write(draft, draw) {
      const every = draw(60, 180) * 1000
      log(draft, (at) => every - (at % every) + 300)
      work(draft, draw(15, 40))
    },
  },
  {
    kind: 'benign',
    name: 'three events that come 2 min late',
    write(draft) {
      log(draft, () => 120_000)
      draft.begin(0).call('get_order', { id: 1 })
    },
  },
]

const lost = (draft: AgentDraft, count: number | null): void =>
  void draft.add('events_lost', { reason: 'BUFFER_FULL', content: count === null ? {} : { count } })
const LOST: Scenarios = [
  {
    kind: 'strong',
    name: '100 to 5,000 events in up to 5 reports',
    write: (draft, draw) => times(draw(1, 5), () => lost(draft.begin(0), draw(100, 5000))),
  },
  { kind: 'mild', name: 'one to five events', write: (draft, draw) => lost(draft.begin(0), draw(1, 5)) },
  { kind: 'mild', name: 'a report that does not know how many', write: (draft) => lost(draft.begin(0), null) },
  { kind: 'benign', name: 'a run without an end', write: (draft, draw) => work(draft, draw(1, 5)) },
  {
    kind: 'benign',
    name: 'a report of the day before',
    write: (draft, draw) => {
      lost(draft.begin(1), draw(1, 100))
      draft.begin(0)
    },
  },
  {
    kind: 'benign',
    name: 'talk of lost events',
    write: (draft) =>
      void draft.begin(0).call('search', { q: 'events_lost' }, '{"count": 12, "reason": "BUFFER_FULL"}'),
  },
]

const TOOLS = ['search', 'read', 'write', 'refund', 'mail', 'delete_user', 'export', 'deploy', 'pay', 'book']
interface Declared {
  readonly sessions: number
  readonly days: number
  readonly tools: readonly string[]
  readonly used: readonly string[]
  readonly version?: string
}
const declare = (draft: AgentDraft, { sessions, days, tools, used, version = '1.0.0' }: Declared): void =>
  times(sessions, (at) => {
    const about = { agent_version: version }
    draft.begin(Math.floor((at * (days + 1)) / sessions), { content: { tools_available: tools }, ...about })
    if (used.length > 0) draft.call(used[at % used.length] ?? '', { at }, 'ok', about)
  })
const some = (draw: Draw, low: number, high: number): string[] => TOOLS.slice(0, draw(low, high))

const UNUSED: Scenarios = [
  {
    kind: 'strong',
    name: 'half of 4 to 10 tools never used in 60 to 100 sessions',
    write(draft, draw) {
      const tools = some(draw, 4, 10)
      declare(draft, { sessions: draw(60, 100), days: 12, tools, used: tools.slice(0, tools.length / 2) })
    },
  },
  {
    kind: 'mild',
    name: 'one of 4 to 10 tools never used in 35 to 60 sessions',
    write(draft, draw) {
      const tools = some(draw, 4, 10)
      declare(draft, { sessions: draw(35, 60), days: 9, tools, used: tools.slice(1) })
    },
  },
  {
    kind: 'benign',
    name: 'all used, one of them once',
    write(draft, draw) {
      const tools = some(draw, 4, 10)
      declare(draft, { sessions: draw(40, 80), days: 12, tools, used: tools.slice(1) })
      draft.call(tools[0] ?? '', {})
    },
  },
  {
    kind: 'benign',
    name: 'one that the agent wants and a policy denies',
    write(draft, draw) {
      const tools = some(draw, 4, 10)
      declare(draft, { sessions: draw(40, 80), days: 12, tools, used: tools.slice(1) })
      draft.call(tools[0] ?? '', {}, 'denied', { outcome: 'denied' })
    },
  },
  {
    kind: 'benign',
    name: 'an agent of 5 to 25 sessions',
    write: (draft, draw) => declare(draft, { sessions: draw(5, 25), days: 12, tools: TOOLS, used: ['search'] }),
  },
  {
    kind: 'benign',
    name: 'an agent of 3 to 6 days',
    write: (draft, draw) => declare(draft, { sessions: 50, days: draw(3, 6), tools: TOOLS, used: ['search'] }),
  },
  {
    kind: 'benign',
    name: 'a tool that only a few sessions declare',
    write(draft, draw) {
      const tools = some(draw, 4, 8)
      declare(draft, { sessions: 50, days: 12, tools, used: tools })
      declare(draft, { sessions: draw(1, 8), days: 3, tools: [...tools, 'book'], used: tools })
    },
  },
  {
    kind: 'benign',
    name: 'a tool that came with a version of yesterday',
    write(draft, draw) {
      const tools = some(draw, 4, 8)
      declare(draft, { sessions: 50, days: 12, tools, used: tools })
      declare(draft, { sessions: draw(31, 50), days: 1, tools: [...tools, 'book'], used: tools, version: '2.0.0' })
    },
  },
]

export const STORED_SCENARIOS: readonly StoredScenario[] = Object.entries({
  'delivery.clock_skew': SKEW,
  'delivery.events_lost': LOST,
  'privilege.unused_tools': UNUSED,
  'sandbox.new_resource': RESOURCES,
  'exfiltration.new_destination': EXFILTRATION,
}).flatMap(([detector, scenarios]) => scenarios.map((scenario) => ({ detector, ...scenario })))
