/**
 * Follows the trail: events as they are stored, each once, across restarts of ClickHouse. {@link changesSince} in a loop: its
 * cursor is right after every event and every error, so going on after an error misses nothing and repeats nothing.
 */
import { EVENTS_TABLE, EXPIRED_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { type Row, text } from '../connection/rows.ts'
import { type Changes, changesSince, type Cursor } from '../queries/changes.ts'
import { cursorAt, logEnds } from '../queries/log-ends.ts'
import type { TrailEvent } from '../queries/session-trail.ts'
import { follow, type FollowOptions, type Notice } from './follow.ts'

/** A look is one query of the tables' metadata while nothing is stored. */
export interface TailOptions extends FollowOptions {
  /** Begins here: the cursor of an earlier tail. */
  readonly after?: Cursor | undefined
  /** Begins with what the log has appended since then. Not beside `after`. @defaultValue with what is stored from now on */
  readonly since?: Date | undefined
  /** Only events of these agents, of these types, of these sessions. The cursor moves over the others too. */
  readonly agents?: readonly string[] | undefined
  readonly types?: readonly string[] | undefined
  readonly sessions?: readonly string[] | undefined
}

export type TailItem =
  | { readonly kind: 'event'; readonly event: TrailEvent }
  /** All that is stored was read, but for what `held` of the tail names. Said after events only. */
  | { readonly kind: 'caught_up' }
  | Notice

export interface Tail extends AsyncIterable<TailItem, void, undefined> {
  /** Behind every event that the iteration has given, or left out. Empty until the first item. */
  readonly cursor: Cursor
  /** Offsets that are stored and not read yet, as far as the tail has seen the logs' ends. */
  readonly behind: number
  /** Gaps that keep events back ({@link Changes.held}). */
  readonly held: Cursor
}

/** Looks at the tables at least so often, whatever the metadata says: an insert and a drop of as many rows may look like nothing. */
const FULL_LOOK_MS = 60_000
/** ClickHouse answers it from the metadata of the tables: it reads no rows. */
const LOOK = `SELECT toString((${[EVENTS_TABLE, SKIPPED_TABLE]
  .map((table) => `(SELECT (count(), max(log_time)) FROM {database:Identifier}.${table})`)
  .join(', ')}, (SELECT count() FROM {database:Identifier}.${EXPIRED_TABLE}))) AS state`

/**
 * Follows the trail until its signal ends it.
 *
 * ```ts
 * const tail = tailTrail(analytics, { after: await load(), signal })
 * for await (const item of tail) if (item.kind === 'event') { await handle(item.event); await save(tail.cursor) }
 * ```
 * @throws TrailError as {@link Analytics.rows}: at the first look any error, later only those that no retry changes.
 */
export function tailTrail(analytics: Analytics, options: TailOptions = {}): Tail {
  return new Follower(analytics, options)
}

class Follower implements Tail {
  readonly #analytics: Analytics
  readonly #options: TailOptions
  #changes: Changes | undefined
  #seen: string | undefined
  #lookedAt = 0

  constructor(analytics: Analytics, options: TailOptions) {
    this.#analytics = analytics
    this.#options = options
  }

  get cursor(): Cursor {
    return this.#changes?.cursor ?? this.#options.after ?? []
  }

  get held(): Cursor {
    return this.#changes?.held ?? []
  }

  get behind(): number {
    const read = new Map(this.cursor.map((position) => [keyOf(position), position.offset]))
    const ends = this.#changes?.ends ?? []
    return ends.reduce((sum, end) => sum + Math.max(0, end.offset - (read.get(keyOf(end)) ?? end.offset)), 0)
  }

  [Symbol.asyncIterator](): AsyncGenerator<TailItem, void, undefined> {
    const begin = async (): Promise<void> => {
      this.#changes ??= changesSince(this.#analytics, await this.#start())
    }
    return follow<TailItem>(begin, () => this.#look(), this.#options)
  }

  /** One look: the events that are new. */
  async *#look(): AsyncGenerator<TailItem, void, undefined> {
    const state = await this.#state()
    if (state === this.#seen && Date.now() - this.#lookedAt < FULL_LOOK_MS) return
    let passed = false
    for await (const event of this.#changes ?? []) {
      passed = true
      if (this.#isWanted(event)) yield { kind: 'event', event }
    }
    // Only now: after an error the same state is looked at again.
    this.#seen = state
    this.#lookedAt = Date.now()
    if (passed) yield { kind: 'caught_up' }
  }

  async #start(): Promise<Cursor> {
    const { after, since } = this.#options
    if (after !== undefined) return after
    return since === undefined ? (await logEnds(this.#analytics)).ends : cursorAt(this.#analytics, since)
  }

  async #state(): Promise<string> {
    const [row] = await this.#analytics.rows<Row>(LOOK)
    return row === undefined ? '' : text(row, 'state')
  }

  #isWanted({ agent_id: agent, event_type: type, session_id: session }: TrailEvent): boolean {
    const { agents, types, sessions } = this.#options
    return (agents?.includes(agent) ?? true) && (types?.includes(type) ?? true) && (sessions?.includes(session) ?? true)
  }
}

function keyOf({ log_id, partition }: Cursor[number]): string {
  return `${log_id}/${partition}`
}
