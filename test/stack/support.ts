/** Servers of this machine, without Docker: whether they can run here, and whether they have ended. */
import { clickHouseAvailability, kafkaAvailability, SERVER_KINDS } from '@agent-audit/stack'
import { expect, vi } from 'vitest'
import { isRunning } from '../support/is-running.ts'

// These tests are about servers that this machine starts without Docker.
vi.stubEnv('CLICKHOUSE_URL', undefined)
vi.stubEnv('KAFKA_BROKERS', undefined)
vi.stubEnv('AUDIT_SERVERS', 'local')
for (const kind of SERVER_KINDS) vi.stubEnv(`AUDIT_SERVERS_${kind.toUpperCase()}`, 'local')

const clickHouse = clickHouseAvailability()
const kafka = kafkaAvailability()
/** Why these tests cannot run here; undefined if they can. */
export const NO_CLICKHOUSE: string | undefined = clickHouse.available ? undefined : `(skipped: ${clickHouse.reason})`
export const NO_KAFKA: string | undefined = kafka.available ? undefined : `(skipped: ${kafka.reason})`

/** Waits until all of the processes have ended. */
export async function expectGone(pids: readonly number[]): Promise<void> {
  await expect.poll(() => pids.filter(isRunning), { timeout: 30_000 }).toEqual([])
}
