/** The result of a run, for people and for programs. */
import type { MessageAccount } from '../recordings/play-recordings.ts'
import { figure } from '../progress.ts'
import { ROLES, type Role } from '../recordings/chat-format.ts'
import type { Outcome } from '../run/main-job.ts'

/** Whether every accepted event is stored, each once, and none was refused. */
export function isComplete({ trail, stored }: Outcome): boolean {
  return stored.rows === trail.accepted && stored.events === stored.rows && trail.refused === 0
}

/** Accepted and stored, side by side. */
export function eventTable({ trail, stored, ...outcome }: Outcome): string {
  const types = [...new Set([...trail.byType.keys(), ...stored.byType.keys()])]
  const counted = types.map((type) => ({
    type,
    accepted: trail.byType.get(type) ?? 0,
    stored: stored.byType.get(type) ?? 0,
  }))
  const rows = counted
    .toSorted((a, b) => b.accepted - a.accepted || (a.type < b.type ? -1 : 1))
    .map((row) => [row.type, figure(row.accepted), figure(row.stored), row.accepted === row.stored ? '' : '  differs'])
  const total = ['total', figure(trail.accepted), figure(stored.rows), '']
  const lines = columns([['EVENT TYPE', 'ACCEPTED', 'STORED', ''], ...rows, total])
  const verdict = isComplete({ trail, stored, ...outcome })
    ? `stored = accepted, each once`
    : `NOT COMPLETE: ${figure(trail.accepted)} accepted, ${figure(stored.events)} of them stored, in ${figure(stored.rows)} rows`
  const refused = trail.refused === 0 ? '' : `; ${figure(trail.refused)} events were refused`
  const skipped = `${figure(stored.duplicates)} duplicates left out, ${figure(stored.deadLetters)} dead letters`
  return `${lines}${verdict}${refused} (${skipped}; ${figure(trail.sessions)} sessions in ${outcome.seconds.toFixed(1)} s)\n`
}

/** The messages of the recorded sessions, and the events they became. */
export function messageTable(account: MessageAccount): string {
  const roles = ROLES.filter((role) => account.has(role))
  const rows = roles.map((role) => [role, figure(messagesOf(account, role)), eventsOf(account, role)])
  const total = roles.reduce((sum, role) => sum + messagesOf(account, role), 0)
  const lines = columns(
    [['MESSAGES', 'COUNT', 'RECORDED AS'], ...rows, ['total', figure(total), 'every message is accounted for']],
    [1],
  )
  return `${lines}Beside them: a tool_call for each one requested, the final_output and the session_end of each session.\n`
}

function messagesOf(account: MessageAccount, role: Role): number {
  return [...(account.get(role)?.values() ?? [])].reduce((sum, count) => sum + count, 0)
}

function eventsOf(account: MessageAccount, role: Role): string {
  return [...(account.get(role) ?? [])].map(([type, count]) => `${type} ${figure(count)}`).join(', ')
}

/** The last line of `--json`. */
export function summary({ trail, stored, seconds, incomplete }: Outcome): string {
  return JSON.stringify({
    accepted: trail.accepted,
    stored: stored.rows,
    duplicates: stored.duplicates,
    dead_letters: stored.deadLetters,
    sessions: trail.sessions,
    seconds: Number(seconds.toFixed(3)),
    by_type: Object.fromEntries([...stored.byType].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    ...(incomplete === undefined ? {} : { incomplete }),
  })
}

/** Aligned columns: those in `right` to the right, the others to the left. */
function columns(rows: readonly (readonly string[])[], right: readonly number[] = [1, 2]): string {
  const widths = (rows[0] ?? []).map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)))
  const cell = (text: string, index: number): string =>
    right.includes(index) ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0)
  return rows.map((row) => `${row.map(cell).join('  ').trimEnd()}\n`).join('')
}
