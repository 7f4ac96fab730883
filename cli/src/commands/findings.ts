/** `agent-audit detect list` and `agent-audit detect explain`. */
import { type Analytics, eventById, type TrailEvent } from '@agent-audit/analytics'
import type * as Detect from '@agent-audit/detect'
import { InvalidInputError, noSuch } from '@agent-audit/schemas'
import { type Command, Option } from 'commander'
import { collect, parseCount, parseTime } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { detectorList, findingList, findingPage } from '../render/findings.ts'
import { asJson, painter, printable } from '../render/text.ts'
import { EXIT, printArray, type Terminal } from '../terminal.ts'

interface ListOptions extends ConnectionOptions {
  readonly detectors?: boolean
  readonly module?: string[]
  readonly agent?: string
  readonly session?: string
  readonly detector?: string
  readonly severity?: Detect.Severity
  readonly state?: Detect.FindingState
  readonly since?: Date
  readonly limit: number
  readonly json?: boolean
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

export function addList(group: Command, terminal: Terminal): void {
  const list = group
    .command('list')
    .description('list findings, the latest first; or the detectors')
    .option('--detectors', 'list the detectors: what each finds, how, and its thresholds')
    .option('--module <file>', 'with --detectors: also those of this module (repeatable)', collect)
    .option('--agent <id>', 'only of this agent')
    .option('--session <id>', 'only of this session')
    .option('--detector <name>', 'only of this detector')
    .addOption(
      new Option('--severity <level>', 'only this grave or graver').choices([
        'info',
        'low',
        'medium',
        'high',
        'critical',
      ]),
    )
    .addOption(
      new Option('--state <state>', 'only in this state').choices(['open', 'acknowledged', 'suppressed', 'escalated']),
    )
    .option('--since <time>', 'found from this time on: 24h, 7d, or 2026-11-24T10:00:00Z', parseTime)
    .option('--limit <n>', 'length of the list', parseCount(1, 100_000), 50)
    .option('--json', 'one JSON array')
  connectable(list).action(async (options: ListOptions) => {
    const detect = await import('@agent-audit/detect')
    if (options.detectors === true) return listDetectors(detect, options, terminal)
    const found = await withTrail(options, terminal, async (analytics) => {
      const names = options.detector === undefined ? [] : [options.detector]
      await expectDetectors({ detect, analytics, names, option: '--detector' })
      return detect.findings(analytics, options)
    })
    if (options.json === true) return printArray(terminal, found)
    if (found.length === 0) return terminal.out('no findings\n')
    terminal.out(findingList(found, painter(terminal.colors)))
    if (found.length === options.limit) terminal.out(`the latest ${found.length}; --limit shows more\n`)
  })
}

async function listDetectors(detect: typeof Detect, options: ListOptions, terminal: Terminal): Promise<void> {
  const own = await Promise.all((options.module ?? []).map((path) => detect.loadDetectors(path)))
  const all = detect.joined(detect.DETECTORS, ...own)
  const about = all.map(({ name, version, unit, finds, method, source, thresholds }) => ({
    name,
    version,
    unit,
    finds,
    method,
    source,
    thresholds,
  }))
  if (options.json === true) return printArray(terminal, about)
  terminal.out(about.length === 0 ? 'no detectors\n' : detectorList(about, painter(terminal.colors)))
}

/**
 * Holds names against the detectors of the project, those of modules, and all that have ever run on this trail.
 * @throws InvalidInputError `OPTIONS_INVALID` naming the near one.
 */
export async function expectDetectors({
  detect,
  analytics,
  names,
  option,
}: {
  readonly detect: typeof Detect
  readonly analytics: Analytics
  readonly names: readonly string[]
  readonly option: string
}): Promise<void> {
  if (names.every((name) => detect.DETECTORS.some((each) => each.name === name))) return
  const known = [...detect.DETECTORS.map((each) => each.name), ...(await detect.detectorsOf(analytics))]
  for (const name of names) {
    if (known.includes(name)) continue
    throw new InvalidInputError('OPTIONS_INVALID', `${option} ${printable(name)}: ${noSuch('detector', name, known)}`)
  }
}

export function addExplain(group: Command, terminal: Terminal, exit: (code: number) => void): void {
  const explain = group
    .command('explain')
    .description('show why a finding was found: what its detector does, each signal, and the events')
    .argument('<finding>', 'finding_id, as list prints it')
    .option('--module <file>', 'where a detector of your own is (repeatable)', collect)
    .option('--json', 'one JSON object')
  type Options = ConnectionOptions & { module?: string[]; json?: boolean }
  connectable(explain).action(async (text: string, options: Options) => {
    const id = findingIdOf(text)
    const detect = await import('@agent-audit/detect')
    const own = await Promise.all((options.module ?? []).map((path) => detect.loadDetectors(path)))
    const explained = await withTrail(options, terminal, async (analytics) => {
      const [finding] = await detect.findings(analytics, { ids: [id] })
      return finding === undefined ? undefined : { finding, events: await evidenceOf(analytics, finding) }
    })
    if (explained === undefined) {
      terminal.err(`agent-audit: no finding ${id}; \`agent-audit detect list\` lists them\n`)
      return exit(EXIT.finding)
    }
    const detector = detect.joined(detect.DETECTORS, ...own).find(({ name }) => name === explained.finding.detector)
    const about = detector && { finds: detector.finds, method: detector.method, source: detector.source }
    if (options.json === true) return terminal.out(`${asJson({ ...explained, detector: about ?? null })}\n`)
    terminal.out(findingPage(explained.finding, { about, events: explained.events, paint: painter(terminal.colors) }))
  })
}

/** @throws InvalidInputError `OPTIONS_INVALID` for another form than list prints. */
export function findingIdOf(text: string): string {
  if (ID.test(text)) return text.toLowerCase()
  throw new InvalidInputError(
    'OPTIONS_INVALID',
    `"${printable(text)}": expected a finding_id, as detect list prints it`,
  )
}

/** The events of the evidence, in its order; those that are no longer stored are missing. */
async function evidenceOf(analytics: Analytics, { evidence }: Detect.StoredFinding): Promise<TrailEvent[]> {
  const events: TrailEvent[] = []
  for (const id of evidence) {
    const event = await eventById(analytics, id)
    if (event !== undefined) events.push(event)
  }
  return events
}
