/** `agent-audit tail --findings`. */
import type * as Detect from '@agent-audit/detect'
import { InvalidInputError } from '@agent-audit/schemas'
import { type ConnectionOptions, withTrail } from '../connect.ts'
import { findingLine } from '../render/findings.ts'
import { asJson, painter, printable } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'
import { expectDetectors } from './findings.ts'

export interface FindingsTailFilters extends ConnectionOptions {
  readonly agent?: string[]
  readonly session?: string[]
  readonly detector?: string[]
  readonly severity?: Detect.Severity
  readonly since?: Date
  readonly after?: string
  readonly json?: boolean
}

/** Findings go to the output, all else to the errors. */
export async function followFindings(options: FindingsTailFilters, terminal: Terminal): Promise<void> {
  const { agent: agents, session: sessions, detector: detectors, severity, since, json = false } = options
  const after = options.after === undefined ? undefined : placeOf(options.after)
  const detect = await import('@agent-audit/detect')
  const paint = painter(terminal.colors)
  const said = { lost: 'away, waiting', back: 'back' } as const
  await withTrail(options, terminal, async (analytics) => {
    await expectDetectors({ detect, analytics, names: detectors ?? [], option: '--detector' })
    const signal = terminal.interrupted?.()
    const tail = detect.tailFindings(analytics, { after, since, agents, sessions, detectors, severity, signal })
    for await (const item of tail) {
      if (item.kind === 'finding') {
        const lagMs = Math.max(0, Date.now() - Date.parse(item.finding.found_at))
        const { behind } = tail
        const lag = { since_found_ms: lagMs, behind }
        const { finding } = item
        const line = json
          ? asJson({ finding, cursor: cursorText(tail.cursor), lag })
          : findingLine(finding, { lagMs, behind, paint })
        terminal.out(`${line}\n`)
      } else if (item.kind !== 'caught_up') {
        const why = item.kind === 'lost' ? `: ${printable(item.error.message)}` : ''
        terminal.err(`agent-audit: ClickHouse is ${said[item.kind]}${why}\n`)
      }
      await terminal.drained?.()
    }
    const cursor = cursorText(tail.cursor)
    terminal.err(`agent-audit: stopped${cursor === '' ? '' : `; go on with --after ${cursor}`}\n`)
  })
}

function cursorText(place: Detect.FindingPlace | undefined): string {
  return place === undefined ? '' : `${place.found_at}/${place.finding_id}`
}

const PLACE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)\/([0-9a-f-]{36})?$/

/** @throws InvalidInputError `OPTIONS_INVALID` for another form than tail prints. */
function placeOf(text: string): Detect.FindingPlace {
  const [, found_at, finding_id = ''] = PLACE.exec(text) ?? []
  if (found_at !== undefined && !Number.isNaN(Date.parse(found_at))) return { found_at, finding_id }
  const expected = 'expected the cursor that tail --findings has printed: found_at/finding_id'
  throw new InvalidInputError('OPTIONS_INVALID', `--after: ${expected}`)
}
