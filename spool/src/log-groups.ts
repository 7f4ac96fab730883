/**
 * Consumer groups of the embedded log. A group has one member at a time and an epoch that rises with every join; only
 * the newest epoch commits. Safety rests on the epoch alone: clocks decide only how soon a dead member is replaced.
 */
import type { StatementSync } from 'node:sqlite'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import { checkWhole } from './log-schema.ts'

export interface CommittedOffset {
  readonly offset: number
  readonly metadata: string
}

interface MemberRow {
  epoch: number
  member: string | null
  heartbeat_ms: number
}

export class LogGroups {
  readonly #db: Database
  readonly #selectMember: StatementSync
  readonly #selectCommitted: StatementSync

  constructor(db: Database) {
    this.#db = db
    this.#selectMember = db.prepare('SELECT epoch, member, heartbeat_ms FROM group_member WHERE group_name = ?')
    this.#selectCommitted = db.prepare(`SELECT commit_offset AS "offset", metadata FROM committed
      WHERE group_name = ? AND topic = ? AND partition = ?`)
  }

  join(group: string, member: string, sessionTimeoutMs: number): number | undefined {
    if (member === '') throw new InvalidInputError('OPTIONS_INVALID', 'member: expected a name, not an empty string')
    checkWhole('sessionTimeoutMs', sessionTimeoutMs, 0)
    const upsert = this.#db.prepare('INSERT OR REPLACE INTO group_member VALUES (?, ?, ?, ?)')
    return this.#db.transaction(`join group ${group} in`, () => {
      const row = this.#selectMember.get(group) as MemberRow | undefined
      const nowMs = Date.now()
      if (row !== undefined && row.member !== member && lives(row, nowMs, sessionTimeoutMs)) return undefined
      const epoch = (row?.epoch ?? 0) + 1
      upsert.run(group, epoch, member, nowMs)
      return epoch
    })
  }

  heartbeat(group: string, epoch: number): boolean {
    const update = this.#db.prepare(
      'UPDATE group_member SET heartbeat_ms = ? WHERE group_name = ? AND epoch = ? AND member IS NOT NULL',
    )
    return this.#db.transaction('write a heartbeat to', () => update.run(Date.now(), group, epoch).changes === 1)
  }

  /**
   * The epoch is compared inside the write lock. Otherwise: this process compares, is paused; another one joins and
   * reads the offset committed so far; this one wakes up and overwrites it.
   */
  commit(group: string, epoch: number, topic: string, partition: number, offset: number, metadata: string): boolean {
    checkWhole('offset', offset, 0)
    const upsert = this.#db.prepare('INSERT OR REPLACE INTO committed VALUES (?, ?, ?, ?, ?)')
    return this.#db.transaction('commit to', () => {
      const row = this.#selectMember.get(group) as MemberRow | undefined
      if (row === undefined || row.epoch !== epoch || row.member === null) return false
      upsert.run(group, topic, partition, offset, metadata)
      return true
    })
  }

  committed(group: string, topic: string, partition: number): CommittedOffset | undefined {
    const row = this.#db.use(
      'read',
      () => this.#selectCommitted.get(group, topic, partition) as CommittedOffset | undefined,
    )
    return row && { offset: row.offset, metadata: row.metadata }
  }

  leave(group: string, epoch: number): void {
    const update = this.#db.prepare('UPDATE group_member SET member = NULL WHERE group_name = ? AND epoch = ?')
    this.#db.transaction(`leave group ${group} in`, () => update.run(group, epoch))
  }
}

/** A heartbeat far in the future is as dead as an old one: the clock was set back since, and a live member beats again. */
function lives(row: MemberRow, nowMs: number, sessionTimeoutMs: number): boolean {
  return row.member !== null && Math.abs(nowMs - row.heartbeat_ms) < sessionTimeoutMs
}
