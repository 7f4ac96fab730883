/** `agent-audit detect ack`, `suppress` and `escalate`: decisions on findings, recorded as events of the trail. */
import type * as Detect from '@agent-audit/detect'
import { InvalidInputError } from '@agent-audit/schemas'
import { type Command, InvalidArgumentError } from 'commander'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { KAFKA_HELP } from '../kafka-connection.ts'
import { destinationOf, withRecorder } from '../record-event.ts'
import { printable } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'
import { expectDetectors, findingIdOf } from './findings.ts'

interface Options extends ConnectionOptions {
  readonly by: string
  readonly reason: string
  readonly detector?: string
  readonly agent?: string
  readonly until?: Date
  readonly brokers?: string
  readonly topic?: string
}

const HELP = `
Recorded as an event of the trail, and shown by list once it is stored. The event goes to Kafka, or to the embedded log of
--data-dir or AUDIT_DATA_DIR.
${KAFKA_HELP}`
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000, w: 604_800_000 }

export function addDecisions(group: Command, terminal: Terminal): void {
  const add = (name: string, type: Detect.DecisionType, description: string): Command => {
    const command = group
      .command(name)
      .description(description)
      .argument(name === 'suppress' ? '[finding]' : '<finding>', 'finding_id, as list prints it')
      .requiredOption('--by <person>', 'the person who decides')
      .requiredOption('--reason <text>', 'why')
      .option('--brokers <list>', 'Kafka, host:port separated by commas (default: KAFKA_BROKERS)')
      .option('--topic <name>', 'topic of the event (default: audit.events)')
      .addHelpText('after', HELP)
    return connectable(command).action((id: string | undefined, options: Options) =>
      decide({ id, type, options, terminal }),
    )
  }
  add('ack', 'finding.acknowledged', 'acknowledge a finding: a person has seen it')
  add(
    'suppress',
    'finding.suppressed',
    'suppress a finding, or what a detector finds of an agent until a time: no alert',
  )
    .option('--detector <name>', 'with --agent and --until, instead of a finding')
    .option('--agent <id>', 'whose findings')
    .option('--until <time>', 'how long: 12h, 7d, or 2026-11-24T10:00:00Z', parseUntil)
  add('escalate', 'finding.escalated', 'escalate a finding: others must look at it')
}

interface Decision {
  readonly id: string | undefined
  readonly type: Detect.DecisionType
  readonly options: Options
  readonly terminal: Terminal
}

async function decide({ id, type, options, terminal }: Decision): Promise<void> {
  const detect = await import('@agent-audit/detect')
  const wanted = subjectOf(id, options)
  const { subject, logDir } = await withTrail(options, terminal, async (analytics, dir) => {
    if (!('finding_id' in wanted)) {
      await expectDetectors({ detect, analytics, names: [wanted.detector], option: '--detector' })
      return { subject: wanted, logDir: dir }
    }
    const [found] = await detect.findings(analytics, { ids: [wanted.finding_id] })
    if (found !== undefined) return { subject: wanted, logDir: dir }
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      `no finding ${wanted.finding_id}; \`agent-audit detect list\` lists them`,
    )
  })
  const { by, reason } = options
  const destination = destinationOf(options, terminal, { logDir, command: 'detect' })
  const eventId = await withRecorder({ ...destination, agentId: detect.DECIDING_AGENT }, (record) =>
    record({ event_type: type, approver_id: by, reason, content: { ...subject } }),
  )
  const what = 'finding_id' in subject ? subject.finding_id : `${subject.detector} of ${subject.agent_id}`
  terminal.out(`${detect.STATES[type]} ${printable(what)}: recorded as event ${eventId}\n`)
}

function subjectOf(id: string | undefined, { detector, agent, until }: Options): Detect.Subject {
  if (id !== undefined) {
    if (detector === undefined && agent === undefined && until === undefined) return { finding_id: findingIdOf(id) }
  } else if (detector !== undefined && agent !== undefined && until !== undefined) {
    return { detector, agent_id: agent, until: until.toISOString() }
  }
  const expected = 'expected either a finding, or all of --detector, --agent and --until'
  throw new InvalidInputError('OPTIONS_INVALID', `detect suppress: ${expected}`)
}

/** A time to come: a duration from now, a date or ISO 8601. */
function parseUntil(text: string): Date {
  const [, amount, unit] = /^(\d{1,6})([hdw])$/.exec(text) ?? []
  const time =
    amount === undefined || unit === undefined
      ? new Date(text)
      : new Date(Date.now() + Number(amount) * (UNIT_MS[unit] ?? 0))
  if (/^\d+[hdw]$|^\d{4}-\d\d-\d\d/.test(text) && time.getTime() > Date.now()) return time
  throw new InvalidArgumentError('expected a time to come: 12h, 7d, or 2026-11-24T10:00:00Z')
}
