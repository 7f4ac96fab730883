/** The testing entry: a trail in memory, to test an agent by the events it records. */
import type { AuditTrail } from '../api/audit-trail.ts'
import type { AuditTrailOptions } from '../api/trail-options.ts'
import type { Deadline } from '../context/availability.ts'
import { resolveOptions } from '../options/options.ts'
import { Trail } from '../session/trail.ts'
import { createClaims } from '../context/used-approvals.ts'
import { findProblems } from './find-problems.ts'
import { MemoryDelivery } from './memory-delivery.ts'
import { decodeEvent } from './test-events.ts'
import type { TestEvent } from './test-events.ts'

export type { TestEvent } from './test-events.ts'

/** Values that an event must have; a field that is not named may have any value. */
export type EventFilter = Partial<Pick<TestEvent, 'event_type' | 'session_id' | 'tool_name'>>

export interface TestTrail extends AuditTrail {
  /** The stored events, decoded, in order, including those of the trail itself. */
  events(filter?: EventFilter): readonly TestEvent[]
  /** One line for each event, such as `tool_call refund allowed`: of one session, or of all but the trail's own session. */
  outline(session_id?: string): string[]
  /**
   * Problems that a reviewer would find: a session that was not ended, a call without a result, a call that ran without its
   * approval or beyond it, a gap. Empty if there are none.
   */
  problems(): string[]
  /**
   * Makes storing fail from now on; undefined ends the failure. `disk`: the spool cannot be written, `broker`: nothing is
   * acknowledged and recorded events wait, `full`: recorded events are refused. A guard does not wait, it refuses at once.
   */
  fail(how: 'disk' | 'broker' | 'full' | undefined): void
}

/** `agentId` defaults to `test-agent`. `now` is the clock of timestamps and of the expiry of approvals. */
export type TestTrailOptions = Partial<AuditTrailOptions> & { now?: (() => Date) | undefined }

/**
 * The whole producer over memory: the same checks and the same bytes, encoded and decoded again, without disk, broker, thread
 * or timer. Without `brokers` and `dataDir` it needs neither KAFKA_BROKERS nor AUDIT_DATA_DIR, and reads neither.
 * @throws InvalidInputError `OPTIONS_INVALID` naming every wrong option.
 */
export function createTestTrail({ now, ...options }: TestTrailOptions = {}): TestTrail {
  const resolved = resolveOptions(
    { agentId: 'test-agent', ...options, handleExit: false },
    { unnamed: { kind: 'memory' } },
  )
  const memory = new MemoryDelivery()
  const nowMs = now === undefined ? Date.now : (): number => now().getTime()
  const elapsedMs = (): number => (now === undefined ? performance.now() : 0)
  const trail = new Trail(resolved, {
    startDelivery: (settings, hooks) => memory.start(settings, hooks),
    nowMs,
    elapsedMs,
    deadline: afterTurns,
    // A test leaves no files.
    claims: createClaims({ ...resolved, durability: 'memory' }),
    eager: true,
  })
  const events = (): TestEvent[] => memory.stored.map(decodeEvent)
  return Object.assign(trail, {
    events: (filter: EventFilter = {}) => events().filter((event) => matches(event, filter)),
    outline: (session_id?: string) =>
      events()
        .filter((event) => (session_id === undefined ? !isOfTrail(event) : event.session_id === session_id))
        .map(describe),
    problems: () => findProblems(events(), trail.stats().recorded),
    fail: (how: Parameters<TestTrail['fail']>[0]) => memory.fail(how),
  })
}

/** A deadline after 20 turns of the microtask queue: an event that is stored at all is stored by then. */
function afterTurns(timeoutMs: number): Deadline {
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

function isOfTrail({ session_id: id, run_id: run }: TestEvent): boolean {
  return id === `trail:${run}`
}

function describe({ event_type, tool_name, outcome, approval_status }: TestEvent): string {
  return [event_type, tool_name, outcome ?? approval_status].filter((part) => part !== null).join(' ')
}
