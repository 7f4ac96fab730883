/** An agent that records the messages of recorded sessions, over and over, and knows which events were accepted. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { type Analytics, connectAnalytics } from '@agent-audit/analytics'
import { createAuditTrail } from '@agent-audit/producer'
import { until } from '../docker.ts'

interface RecordedSession {
  readonly session: string
  readonly messages: readonly { readonly role: string; readonly content: string | null }[]
}

export interface Load {
  /** Events whose receipt resolved: they are on disk. */
  readonly accepted: number
  /** Sends the rest, and checks that the accepted ids are the ids in the table, each once. @returns how many there are. */
  finish(): Promise<number>
}

export interface LoadOptions {
  /** As env.sh prints them. */
  readonly environment: Readonly<Record<string, string>>
  readonly spoolDir: string
  readonly recordings: string
  /** Events to record. @defaultValue until `finish` is called */
  readonly events?: number | undefined
}

/** Between two turns: about 1500 events a second. */
const PAUSE_MS = 20
const TURN = 30
const FLUSH_MS = 120_000

export function connectReader(environment: Readonly<Record<string, string>>): Analytics {
  return connectAnalytics({
    url: environment['CLICKHOUSE_URL'] ?? '',
    username: 'audit_reader',
    password: environment['AUDIT_READER_PASSWORD'] ?? '',
  })
}

export function startLoad({ environment, spoolDir, recordings, events = Infinity }: LoadOptions): Load {
  const trail = createAuditTrail({
    agentId: 'lab',
    brokers: [environment['KAFKA_BROKERS'] ?? ''],
    sasl: { mechanism: 'plain', username: 'audit', password: environment['KAFKA_SASL_PASSWORD'] ?? '' },
    spoolDir,
    onProblem: () => {},
  })
  const accepted = new Set<string>()
  let ending = false
  const recording = (async () => {
    for (let round = 0, count = 0; ; round++) {
      for (const { session: id, messages } of readSessions(recordings)) {
        const session = trail.startSession({ session_id: `${id}-${round}` })
        for (const { role, content } of messages) {
          if (ending || count >= events) return
          // A message that only calls tools has no text.
          const text = content || role
          const receipt =
            role === 'user' ? session.userMessage({ message: text }) : session.decision({ reasoning: text })
          // A refused event is none that was accepted.
          receipt.stored.then(() => accepted.add(receipt.event_id)).catch(() => undefined)
          if (++count % TURN === 0) await sleep(PAUSE_MS)
        }
      }
    }
  })()
  // Its error is reported by `finish`.
  recording.catch(() => undefined)
  return {
    get accepted() {
      return accepted.size
    },
    async finish() {
      if (events === Infinity) ending = true
      await recording
      await trail.flush({ timeoutMs: FLUSH_MS })
      await trail.close({ timeoutMs: FLUSH_MS })
      await expectStored(environment, { runId: trail.runId, accepted })
      return accepted.size
    },
  }
}

async function expectStored(
  environment: Readonly<Record<string, string>>,
  { runId, accepted }: { readonly runId: string; readonly accepted: ReadonlySet<string> },
): Promise<void> {
  await using reader = connectReader(environment)
  const query = `SELECT toString(event_id) AS id FROM {database:Identifier}.audit_events
    WHERE run_id = unhex({runId:String}) AND event_type IN ('user_message', 'decision')`
  await until('accepted events are in the table', async () => {
    const rows = await reader.rows<{ id: string }>(query, { runId })
    const ids = new Set(rows.map(({ id }) => id))
    if (rows.length !== ids.size) throw new Error(`${rows.length} rows, and ${ids.size} different ids`)
    return [...accepted].every((id) => ids.has(id)) && ids.size === accepted.size ? ids : undefined
  })
}

function readSessions(file: string): RecordedSession[] {
  const bytes = readFileSync(file)
  const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  return text.split('\n').flatMap((line) => (line === '' ? [] : (JSON.parse(line) as RecordedSession)))
}
