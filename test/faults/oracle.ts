/** Checks the promises after every round, by the tables and the log alone, never by the consumer. */
import { completeness } from '@agent-audit/analytics'
import { EVENTS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { SealOracle } from './seal-oracle.ts'
import type { Servers } from './servers.ts'
import type { Trail } from './trail.ts'
import { until } from '../support/wait.ts'

const STORED_TIMEOUT_MS = 90_000
const POLL_MS = 100
/** Types of the events that the producer records by itself, without a receipt. */
const OWN_TYPES = new Set(['trail_started', 'session_start', 'trail_stopped'])
const SHOWN = 5

export interface Verdict {
  readonly events: number
  /** Of acknowledged events, those not stored; of all events, stored rows beyond the first of each. */
  readonly lost: number
  readonly repeated: number
  /** Every violation, as text. */
  readonly findings: readonly string[]
}

interface Row {
  readonly id: string
  readonly run: string
  readonly type: string
}

/** Compares one log with its rows, round by round. */
export class Oracle {
  readonly #servers: Servers
  readonly #trail: Trail
  readonly #seals: SealOracle
  /** Offsets below which earlier rounds have compared ids. */
  readonly #checked = new Map<number, number>()

  constructor(servers: Servers, trail: Trail, seals: SealOracle) {
    this.#servers = servers
    this.#trail = trail
    this.#seals = seals
  }

  /**
   * Waits until the tables account for the whole log, then checks.
   * @param acknowledged - Ids of the events acknowledged since the last check; nothing may be under way any more.
   */
  async check(acknowledged: readonly string[], whileWaiting: () => void): Promise<Verdict> {
    const ends = await this.#ends()
    await until(
      `offsets up to ${[...ends.values()].join(', ')} stored`,
      async () => {
        whileWaiting()
        const offsets = await this.#offsets()
        return [...ends].every(([partition, end]) => (offsets.get(partition)?.different ?? 0) >= end) || undefined
      },
      { timeoutMs: STORED_TIMEOUT_MS, pollMs: POLL_MS },
    )
    const ids = await this.#checkIds(acknowledged)
    const rows = [...ids.findings, ...(await this.#checkOffsets(ends)), ...(await this.#checkCompleteness())]
    const findings = [...rows, ...(await this.#seals.check(ends))]
    for (const [partition, end] of ends) this.#checked.set(partition, end)
    return { ...ids, findings }
  }

  async #ends(): Promise<Map<number, number>> {
    const offsets = await this.#servers.ask((admin) => admin.fetchTopicOffsets(this.#trail.topic))
    return new Map(offsets.map(({ partition, high }) => [partition, Number(high)]))
  }

  async #checkIds(acknowledged: readonly string[]): Promise<Omit<Verdict, 'findings'> & { findings: string[] }> {
    const since = this.#trail.partitions.map(
      (partition) => `(log_partition = ${partition} AND log_offset >= ${this.#checked.get(partition) ?? 0})`,
    )
    const rows = await this.#servers.admin.rows<Row>(
      `SELECT toString(event_id) AS id, lower(hex(run_id)) AS run, event_type AS type FROM {database:Identifier}.${EVENTS_TABLE}
       WHERE log_id = unhex({log:String}) AND (${since.join(' OR ')})`,
      { log: this.#trail.logId },
    )
    const counts = new Map<string, number>()
    for (const { id } of rows) counts.set(id, (counts.get(id) ?? 0) + 1)
    const expected = new Set(acknowledged)
    const lost = acknowledged.filter((id) => !counts.has(id))
    // Of a killed producer's events only those that it could tell of are known.
    const isKnown = ({ run }: Row): boolean => !this.#trail.killedRuns.has(run)
    const strange = rows.filter((row) => !expected.has(row.id) && !OWN_TYPES.has(row.type) && isKnown(row))
    const [all] = await this.#servers.admin.rows<{ rows: number; different: number }>(
      `SELECT toFloat64(count()) AS rows, toFloat64(uniqExact(event_id)) AS different
       FROM {database:Identifier}.${EVENTS_TABLE} WHERE log_id = unhex({log:String})`,
      { log: this.#trail.logId },
    )
    const repeated = (all?.rows ?? 0) - (all?.different ?? 0)
    const skipped = lost.length === 0 ? [] : await this.#skipped()
    const findings = [
      ...skipped,
      ...(expected.size === acknowledged.length ? [] : ['the producer acknowledged an id twice']),
      ...(lost.length === 0 ? [] : [`${lost.length} acknowledged events lost: ${lost.slice(0, SHOWN).join(', ')}`]),
      ...(repeated === 0 ? [] : [`${repeated} events stored again`]),
      ...(strange.length === 0
        ? []
        : [
            `${strange.length} events never sent: ${strange
              .slice(0, SHOWN)
              .map(({ id }) => id)
              .join(', ')}`,
          ]),
    ]
    return { events: acknowledged.length, lost: lost.length, repeated, findings }
  }

  /** The kinds of skipped rows: they show where lost events may have ended. */
  async #skipped(): Promise<string[]> {
    const rows = await this.#servers.admin.rows<{ kind: string; reason: string; rows: number }>(
      `SELECT kind, reason, toFloat64(count()) AS rows FROM {database:Identifier}.${SKIPPED_TABLE}
       WHERE log_id = unhex({log:String}) GROUP BY kind, reason ORDER BY kind, reason`,
      { log: this.#trail.logId },
    )
    return rows.map(({ kind, reason, rows: count }) => `${count} offsets are ${kind}: ${reason}`)
  }

  async #checkOffsets(ends: ReadonlyMap<number, number>): Promise<string[]> {
    const offsets = await this.#offsets()
    return [...ends].flatMap(([partition, end]) => {
      const { rows = 0, different = 0, first = 0, last = -1 } = offsets.get(partition) ?? {}
      const whole = rows === end && different === end && (end === 0 || (first === 0 && last === end - 1))
      return whole
        ? []
        : [`partition ${partition} ends at ${end}, but has ${rows} rows of ${different} offsets, ${first} to ${last}`]
    })
  }

  async #offsets(): Promise<Map<number, { rows: number; different: number; first: number; last: number }>> {
    const rows = await this.#servers.admin.rows<{
      p: number
      rows: number
      different: number
      first: number
      last: number
    }>(
      `SELECT p, toFloat64(count()) AS rows, toFloat64(uniqExact(o)) AS different,
         toFloat64(min(o)) AS first, toFloat64(max(o)) AS last
       FROM (${offsetsIn(EVENTS_TABLE)} UNION ALL ${offsetsIn(SKIPPED_TABLE)}) GROUP BY p`,
      { log: this.#trail.logId },
    )
    return new Map(rows.map(({ p, ...counts }) => [p, counts]))
  }

  async #checkCompleteness(): Promise<string[]> {
    const { verdict, partitions, runs } = await completeness(this.#servers.admin)
    if (verdict === 'complete') return []
    const wrong = [...partitions, ...runs].filter(({ missing, repeated }) => missing > 0 || repeated > 0)
    return [`completeness says ${verdict}: ${JSON.stringify(wrong).slice(0, 2000)}`]
  }
}

function offsetsIn(table: string): string {
  return `SELECT log_partition AS p, log_offset AS o FROM {database:Identifier}.${table} WHERE log_id = unhex({log:String})`
}
