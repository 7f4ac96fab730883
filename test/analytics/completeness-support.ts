/** What the tests of completeness share: rows of a run, and the report on a trail of given rows. */
import { completeness, type Completeness } from '@agent-audit/analytics'
import { type SeedRow, seedEvents, seedSkipped } from './seed.ts'
import type { TestServer } from './support.ts'

/** Events `first` to `last` of run 1 at the same offsets. */
export function run(first: number, last: number, fields: SeedRow = {}): SeedRow[] {
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    run_seq: first + index,
    log_offset: first + index,
    ...fields,
  }))
}

/** The report on a new trail that holds these rows only. */
export async function checkNewTrail(
  tests: TestServer,
  events: readonly SeedRow[],
  skipped: readonly SeedRow[] = [],
): Promise<Completeness> {
  const trail = await tests.newTrail()
  await seedEvents(trail.server, events)
  await seedSkipped(trail.server, skipped)
  return completeness(trail)
}
