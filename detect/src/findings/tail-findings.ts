/**
 * Follows the findings: each as soon as it is stored, once, across restarts of ClickHouse.
 *
 * Findings have no position, and the time of one is that of its insert's begin: of two workers, the one that began first may end
 * last. So each look asks again for the ids of the last minutes, and gives those that it has not given.
 */
import { type Analytics, follow, type FollowOptions, isoText, type Notice } from '@agent-audit/analytics'
import { FINDINGS_TABLE } from '@agent-audit/schemas'
import { SEVERITIES, type Severity } from '../detector.ts'
import { type FindingPlace, findings, FIRST_PLACE, type StoredFinding } from './read-findings.ts'

/** A look is one query of the table's metadata while nothing is found. */
export interface FindingsTailOptions extends FollowOptions {
  /** Begins here: the cursor of an earlier tail. */
  readonly after?: FindingPlace | undefined
  /** Begins with what was found since then. Not beside `after`. @defaultValue with what is stored from now on */
  readonly since?: Date | undefined
  /** Only findings of these agents, detectors, sessions. The cursor moves over the others too. */
  readonly agents?: readonly string[] | undefined
  readonly detectors?: readonly string[] | undefined
  readonly sessions?: readonly string[] | undefined
  /** Only findings as grave as this, or graver. */
  readonly severity?: Severity | undefined
}

export type FindingsTailItem =
  | { readonly kind: 'finding'; readonly finding: StoredFinding }
  /** All that is stored was read. Said after findings only. */
  | { readonly kind: 'caught_up' }
  | Notice

export interface FindingsTail extends AsyncIterable<FindingsTailItem, void, undefined> {
  /** The last one, in their order, of the findings that the iteration has given or left out; undefined before the first look. */
  readonly cursor: FindingPlace | undefined
  /** Findings that are known to be stored, and not given yet. */
  readonly behind: number
}

/** An insert that takes longer, from its begin to the moment when it is seen, is missed. */
const LATE_MS = 600_000
/** Looks at least so often. */
const FULL_LOOK_MS = 60_000
/** Ids that one query asks for; whole findings in memory. */
const PAGE = { ids: 5000, findings: 100 }
const TABLE = `{database:Identifier}.${FINDINGS_TABLE}`

/**
 * Follows the findings until its signal ends it.
 * @throws TrailError as {@link Analytics.rows}: before the first look any error, later only those that no retry changes.
 */
export function tailFindings(analytics: Analytics, options: FindingsTailOptions = {}): FindingsTail {
  return new FindingsFollower(analytics, options)
}

class FindingsFollower implements FindingsTail {
  readonly #analytics: Analytics
  readonly #options: FindingsTailOptions
  cursor: FindingPlace | undefined
  behind = 0
  /** Those from `#floor` on that were given or left out: found_at by id. */
  readonly #seen = new Map<string, string>()
  #floor = FIRST_PLACE.found_at
  #count = -1
  #lookedAt = 0

  constructor(analytics: Analytics, options: FindingsTailOptions) {
    this.#analytics = analytics
    this.#options = options
    this.cursor = options.after
  }

  [Symbol.asyncIterator](): AsyncGenerator<FindingsTailItem, void, undefined> {
    return follow<FindingsTailItem>(
      () => this.#begin(),
      () => this.#look(),
      this.#options,
    )
  }

  async #begin(): Promise<void> {
    const { after, since } = this.#options
    if (after === undefined && since !== undefined) {
      this.#floor = textOf(since.getTime())
      this.cursor = { found_at: this.#floor, finding_id: '' }
      return
    }
    this.cursor = after ?? { found_at: await this.#now(), finding_id: '' }
    this.#floor = before(this.cursor.found_at)
    // Of an earlier tail: what it gave. Else what is stored already, whatever its time.
    const given = after ?? { found_at: '9999', finding_id: '' }
    for await (const page of this.#pages()) {
      for (const place of page) if (!isBehind(place, given)) this.#seen.set(place.finding_id, place.found_at)
    }
  }

  /** One look: the findings that are new. */
  async *#look(): AsyncGenerator<FindingsTailItem, void, undefined> {
    const [row] = await this.#analytics.rows<{ count: number | string }>(`SELECT count() AS count FROM ${TABLE}`)
    const count = Number(row?.count)
    if (count === this.#count && Date.now() - this.#lookedAt < FULL_LOOK_MS) return
    let passed = false
    for await (const page of this.#pages()) {
      const added = page.filter(({ finding_id }) => !this.#seen.has(finding_id))
      this.behind = added.length
      for (let at = 0; at < added.length; at += PAGE.findings) {
        const ids = added.slice(at, at + PAGE.findings).map(({ finding_id }) => finding_id)
        for (const finding of await findings(this.#analytics, { ids, after: FIRST_PLACE, limit: ids.length })) {
          this.#note(finding)
          passed = true
          if (this.#isWanted(finding)) yield { kind: 'finding', finding }
        }
      }
      this.#forget()
    }
    // Only now: after an error the same count is looked at again.
    this.#count = count
    this.#lookedAt = Date.now()
    if (passed) yield { kind: 'caught_up' }
  }

  #note(finding: StoredFinding): void {
    this.#seen.set(finding.finding_id, finding.found_at)
    if (this.cursor === undefined || isBehind(finding, this.cursor)) {
      this.cursor = { found_at: finding.found_at, finding_id: finding.finding_id }
    }
    this.behind--
  }

  #forget(): void {
    const floor = before(this.cursor?.found_at ?? this.#floor)
    if (floor <= this.#floor) return
    this.#floor = floor
    for (const [id, foundAt] of this.#seen) if (foundAt < floor) this.#seen.delete(id)
  }

  /** Where the findings from `#floor` on stand, in order. */
  async *#pages(): AsyncGenerator<FindingPlace[], void, undefined> {
    let after: FindingPlace = { found_at: this.#floor, finding_id: '' }
    for (;;) {
      const page = await this.#analytics.rows<FindingPlace>(
        `SELECT toString(id) AS finding_id, ${isoText('first')} AS found_at
         FROM (
           SELECT finding_id AS id, min(found_at) AS first FROM ${TABLE}
           WHERE found_at >= parseDateTime64BestEffort({time:String}, 6, 'UTC') GROUP BY id)
         WHERE (first, toString(id)) > (parseDateTime64BestEffort({time:String}, 6, 'UTC'), {id:String})
         ORDER BY first, toString(id) LIMIT {most:UInt32}`,
        { time: after.found_at, id: after.finding_id, most: PAGE.ids },
      )
      yield page
      const last = page.at(-1)
      if (last === undefined || page.length < PAGE.ids) return
      after = last
    }
  }

  async #now(): Promise<string> {
    const [row] = await this.#analytics.rows<{ now: string }>(`SELECT ${isoText('now64(6)')} AS now`)
    return row?.now ?? ''
  }

  #isWanted({ agent_id: agent, detector, session_id: session, severity }: StoredFinding): boolean {
    const { agents, detectors, sessions, severity: least = 'info' } = this.#options
    return (
      (agents?.includes(agent) ?? true) &&
      (detectors?.includes(detector) ?? true) &&
      (sessions?.includes(session ?? '') ?? true) &&
      SEVERITIES.indexOf(severity) >= SEVERITIES.indexOf(least)
    )
  }
}

/** Times of as many digits compare as texts. */
function isBehind(one: FindingPlace, other: FindingPlace): boolean {
  return one.found_at === other.found_at ? one.finding_id > other.finding_id : one.found_at > other.found_at
}

function before(time: string): string {
  return textOf(Date.parse(time) - LATE_MS)
}

function textOf(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z')
}
