/** Plays recorded sessions: records each message through the producer. Fields that the recording does not hold stay null. */
import { InvalidInputError } from '@agent-audit/schemas'
import type { RecordedMessage, RecordedSession, Role } from './chat-format.ts'
import type { CountedSession, CountedTrail } from '../run/counted-trail.ts'
import type { RecordingsFile } from './recordings-file.ts'

/** Number of messages by role, then by the type of the event they became. Each message is counted once. */
export type MessageAccount = ReadonlyMap<Role, ReadonlyMap<string, number>>

export interface RecordingsPlayer {
  /** Grows while `run` records. */
  readonly account: MessageAccount
  /**
   * Records all sessions of the file, in order, until `stop` is aborted.
   * @throws InvalidInputError `INPUT_UNREADABLE` at the first line that cannot be recorded; the lines before it are.
   */
  run(trail: CountedTrail, stop: AbortSignal): Promise<void>
}

export function createPlayer(file: RecordingsFile): RecordingsPlayer {
  const account = new Map<Role, Map<string, number>>()

  function count(role: Role, eventType: string): void {
    const events = account.get(role) ?? new Map<string, number>()
    account.set(role, events.set(eventType, (events.get(eventType) ?? 0) + 1))
  }

  return {
    account,
    async run(trail, stop) {
      for await (const { where, session } of file.entries()) {
        if (stop.aborted) return
        try {
          await playSession(trail, session, count)
        } catch (cause) {
          if (!(cause instanceof InvalidInputError)) throw cause
          throw new InvalidInputError('INPUT_UNREADABLE', `${where}: ${cause.message}`, { cause })
        }
      }
    },
  }
}

type Count = (role: Role, eventType: string) => void

async function playSession(trail: CountedTrail, recorded: RecordedSession, count: Count): Promise<void> {
  const { messages } = recorded
  const prompt = messages.find((message) => message.role === 'system' && message.text !== null)
  const opening = messages.find((message) => message.role === 'user')
  const session = await trail.startSession({
    session_id: recorded.session,
    agent_id: recorded.agent,
    model_id: recorded.model,
    user_id: recorded.user,
    system_prompt: prompt?.text,
    tools_available: toolsOf(messages),
    ...(opening === undefined ? {} : { user_message: opening.content }),
    ...contentOf(opening?.extras),
  })
  const player = new MessagePlayer(session, messages)
  messages.forEach((message, index) => {
    const inStart = message === prompt || message === opening
    count(message.role, inStart ? 'session_start' : player.play(message, index))
  })
  player.finish(recorded.extras)
}

/** Names of the tools seen, in order of appearance. */
function toolsOf(messages: readonly RecordedMessage[]): string[] {
  const called = messages.flatMap(({ toolCalls, name }) => [...toolCalls.map((call) => call.name), name ?? []].flat())
  return [...new Set(called)]
}

function contentOf(extras: Record<string, unknown> = {}): { content?: Record<string, unknown> } {
  return Object.keys(extras).length === 0 ? {} : { content: extras }
}

interface Answer {
  readonly text: string
  readonly event_id: string
  readonly step: number
}

/** Plays the messages of one session. */
class MessagePlayer {
  readonly #session: CountedSession
  /** The messages as recorded, the same objects in each call: by identity, the producer sees which are new. */
  readonly #history: readonly unknown[]
  /** Names of calls without a result, by id. Ids repeat: the oldest is answered first, as the producer pairs them. */
  readonly #openCalls: Map<string, string[]> = new Map<string, string[]>()
  #answer: Answer | undefined

  constructor(session: CountedSession, messages: readonly RecordedMessage[]) {
    this.#session = session
    this.#history = messages.map(({ raw }) => raw)
  }

  /** Records the message at `index`. @returns The type of its event. */
  play(message: RecordedMessage, index: number): string {
    switch (message.role) {
      case 'assistant':
        this.#playAnswer(message, index)
        return 'llm_call'
      case 'tool':
        this.#playResult(message)
        return 'tool_result'
      case 'user':
        this.#session.userMessage({ message: message.content, ...contentOf(message.extras) })
        return 'user_message'
      default:
        this.#session.record({
          event_type: 'replay.system_message',
          content: { ...message.extras, message: message.content },
        })
        return 'replay.system_message'
    }
  }

  #playAnswer({ text, content, toolCalls, extras }: RecordedMessage, index: number): void {
    const { event_id } = this.#session.llmCall({
      input_messages: this.#history.slice(0, index),
      output_text: text,
      ...(toolCalls.length === 0 ? {} : { tool_calls_requested: toolCalls }),
      ...contentOf(Array.isArray(content) ? { ...extras, message: content } : extras),
    })
    if (toolCalls.length === 0 && text !== null) this.#answer = { text, event_id, step: this.#session.ref.step_number }
    for (const { id, name, input } of toolCalls) {
      this.#session.toolCall({ tool_call_id: id, tool_name: name, tool_input: input })
      if (id !== undefined) this.#openCalls.set(id, [...(this.#openCalls.get(id) ?? []), name])
    }
  }

  #playResult({ toolCallId, name, content, extras }: RecordedMessage): void {
    const called = this.#openCalls.get(toolCallId)?.shift()
    this.#session.toolResult({
      tool_call_id: toolCallId,
      tool_name: name ?? called ?? 'unknown',
      tool_output: content,
      // The recording does not say whether the call succeeded.
      outcome: null,
      ...contentOf(extras),
    })
  }

  /** Records the last answer as the output, then the end with the other keys of the recording. */
  finish(extras: Record<string, unknown>): void {
    if (this.#answer !== undefined) {
      const { text, event_id, step } = this.#answer
      this.#session.finalOutput({ output_text: text, parent_event_id: event_id, step_number: step })
    }
    this.#session.end({ outcome: null, ...contentOf(extras) })
  }
}
