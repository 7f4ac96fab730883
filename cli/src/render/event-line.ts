/** One event of many sessions on one line. */
import type { TrailEvent } from '@agent-audit/analytics'
import { describeEvent } from './event-text.ts'
import { columnsOf, padded } from './table.ts'
import { counted, type Paint, shortened } from './text.ts'
import { styleOf, subjectOf } from './timeline.ts'

/** Longest texts, characters. */
const NAME_LENGTH = 24
const TEXT_LENGTH = 160
const WIDTHS = { lag: 7, agent: 12, session: 12, type: 13 }

/** @returns Without a line break. Of an event that cannot be shown, its position and the reason. */
export function eventLine(
  event: TrailEvent,
  { lagMs, behind, paint }: { readonly lagMs: number; readonly behind: number; readonly paint: Paint },
): string {
  try {
    const name = (text: string, width: number): string => padded(shortened(text, NAME_LENGTH), width)
    const subject = subjectOf(event)
    const parts = [
      paint('dim', event.timestamp.slice(0, 23).replace('T', ' ')),
      paint('dim', padded(`+${lagText(lagMs)}`, WIDTHS.lag, true)),
      name(event.agent_id, WIDTHS.agent),
      name(event.session_id, WIDTHS.session),
      paint(styleOf(event), name(event.event_type, WIDTHS.type)),
      ...(columnsOf(subject) === 0 ? [] : [subject]),
      shortened(describeEvent(event), TEXT_LENGTH),
      ...(behind > 0 ? [paint('dim', `(${counted(behind, 'offset')} behind)`)] : []),
    ]
    return parts.join('  ').trimEnd()
  } catch (error) {
    const position = `${event.log_id}/${event.log_partition}/${event.log_offset}`
    return `the event at ${position} cannot be shown: ${shortened(String(error), TEXT_LENGTH)}`
  }
}

/** `0.4s`, `12s`, `5m`, `3h`, `2d`. */
export function lagText(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}s`
  if (ms < 120_000) return `${Math.round(ms / 1000)}s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)}m`
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)}h` : `${Math.round(ms / 86_400_000)}d`
}
