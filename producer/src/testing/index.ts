/** The testing entry: a trail in memory, to test an agent by what it records. */
import type { AuditTrail } from '../api/audit-trail.ts'
import type { AuditTrailOptions } from '../api/trail-options.ts'
import type { Deadline } from '../context/availability.ts'
import { resolveOptions } from '../options/options.ts'
import { Trail } from '../session/trail.ts'
import { processClaims } from '../context/used-approvals.ts'
import { findProblems } from './find-problems.ts'
import { MemoryDelivery } from './memory-delivery.ts'
import { decodeEvent } from './test-events.ts'
import type { TestEvent } from './test-events.ts'

export type { TestEvent } from './test-events.ts'

/** Fields that an event has to have; those not named may be anything. */
export type EventFilter = Partial<Pick<TestEvent, 'event_type' | 'session_id' | 'tool_name'>>

export interface TestTrail extends AuditTrail {
  /** What is stored, decoded, in order; with the trail's own events. */
  events(filter?: EventFilter): readonly TestEvent[]
  /** A line an event, such as `tool_call refund allowed`; of one session, or of all but the trail's own. */
  outline(session_id?: string): string[]
  /**
   * What a reviewer would object to: a session that was not ended, a call without a result, one that ran without or
   * beyond its approval, a gap. Empty if nothing.
   */
  problems(): string[]
  /**
   * Storing fails so from now on; undefined heals. `disk`: nothing gets into the spool, `broker`: nothing is
   * acknowledged, what is recorded waits; `full`: what is recorded is refused. A guard does not wait, it refuses at once.
   */
  fail(how: 'disk' | 'broker' | 'full' | undefined): void
}

/** `agentId` is `test-agent` unless given. `now` is the clock of timestamps and of the expiry of approvals. */
export type TestTrailOptions = Partial<AuditTrailOptions> & { now?: (() => Date) | undefined }

/**
 * The whole producer over memory: the same checks, the same bytes, encoded and decoded again; no disk, broker, thread or
 * timer.
 * @throws InvalidInputError `OPTIONS_INVALID` naming every wrong option.
 */
export function createTestTrail({ now, ...options }: TestTrailOptions = {}): TestTrail {
  const resolved = resolveOptions({ agentId: 'test-agent', ...options, handleExit: false })
  const memory = new MemoryDelivery()
  const nowMs = now === undefined ? Date.now : (): number => now().getTime()
  const trail = new Trail(resolved, {
    startDelivery: (settings, hooks) => memory.start(settings, hooks),
    nowMs,
    deadline: soon,
    claims: processClaims,
    eager: true,
  })
  const events = (): TestEvent[] => memory.stored.map(decodeEvent)
  return Object.assign(trail, {
    events: (filter: EventFilter = {}) => events().filter((event) => matches(event, filter)),
    outline: (session_id?: string) =>
      events()
        .filter((event) => (session_id === undefined ? !isTrailsOwn(event) : event.session_id === session_id))
        .map(describe),
    problems: () => findProblems(events(), trail.stats().recorded),
    fail: (how: Parameters<TestTrail['fail']>[0]) => memory.fail(how),
  })
}

/** Promises that are settled already get their turn; what is not stored by then will not be. */
function soon(timeoutMs: number): Deadline {
  return { timeoutMs, passed: someTurns(), clear: () => {} }
}

async function someTurns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}

function matches(event: TestEvent, filter: EventFilter): boolean {
  return Object.entries(filter).every(
    ([field, value]) => value === undefined || event[field as keyof EventFilter] === value,
  )
}

function isTrailsOwn({ session_id: id, run_id: run }: TestEvent): boolean {
  return id === `trail:${run}`
}

function describe({ event_type, tool_name, outcome, approval_status }: TestEvent): string {
  return [event_type, tool_name, outcome ?? approval_status].filter((part) => part !== null).join(' ')
}
