/** A signer in another process, over its Unix socket. */
import { createConnection, type Socket } from 'node:net'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { NoteSigner } from '../keys/key-file.ts'
import { quoted } from '../notes/lines.ts'
import { parseNote, verifyNote } from '../notes/note.ts'
import { VerifierKey } from '../notes/verifier-key.ts'
import { type Answer, formatRequest, GREETING, lineSplitter, parseAnswer } from './protocol.ts'

export interface SignerClientOptions {
  /** Time for one signature, with waiting and connecting again, milliseconds. @defaultValue 30000 */
  readonly timeoutMs?: number
  /** Closes the signer once it is aborted, also while it connects. */
  readonly signal?: AbortSignal
}

const TIMEOUT_MS = 30_000
const FIRST_PAUSE_MS = 50
const MAX_PAUSE_MS = 2_000

/** `SIGNER_REFUSED`: the signer does not sign the text. */
export class SignerRefusedError extends IntegrityError {
  /** The note that the signer has signed for this run last, if any: perhaps what the caller lost. */
  readonly signed: string | undefined

  constructor(message: string, signed?: string) {
    super('SIGNER_REFUSED', message)
    this.signed = signed
  }
}

/** {@link connectSigner} makes it. Signs one text after the other. */
export interface RemoteSigner extends NoteSigner {
  /**
   * The same text again gives the same note: after an error a caller asks again with the text of before.
   * @throws AuditUnavailableError with code SIGNER_UNAVAILABLE, SignerRefusedError
   */
  sign(text: string): Promise<string>
  /** Rejects what is under way. */
  close(): void
}

/** @throws AuditUnavailableError with code SIGNER_UNAVAILABLE, if no signer answers in time */
export async function connectSigner(socketPath: string, options: SignerClientOptions = {}): Promise<RemoteSigner> {
  const client = new Client(socketPath, options)
  await client.start()
  return client
}

/** A connection whose greeting has arrived. */
interface Connection {
  readonly socket: Socket
  readonly key: VerifierKey
  ask(text: string): Promise<Answer>
}

class Client implements RemoteSigner {
  readonly #path: string
  readonly #timeoutMs: number
  readonly #closed = new AbortController()
  #connection: Connection | undefined
  #key: VerifierKey | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(path: string, { timeoutMs = TIMEOUT_MS, signal }: SignerClientOptions) {
    this.#path = path
    this.#timeoutMs = timeoutMs
    signal?.addEventListener('abort', () => this.close(), { once: true })
    if (signal?.aborted === true) this.close()
  }

  get keyName(): string {
    return this.#known.name
  }

  get vkey(): string {
    return this.#known.vkey
  }

  get #known(): VerifierKey {
    if (this.#key === undefined) throw new Error('not started')
    return this.#key
  }

  start(): Promise<void> {
    return this.#inTime(async (signal) => void (await this.#connect(signal)))
  }

  sign(text: string): Promise<string> {
    const note = this.#last.then(() => this.#inTime((signal) => this.#sign(text, signal)))
    this.#last = note.catch(() => undefined)
    return note
  }

  close(): void {
    this.#closed.abort()
    this.#connection?.socket.destroy()
  }

  /** Repeats until the signer answers: with a new connection if the one at hand ends, and later if it says so. */
  async #sign(text: string, signal: AbortSignal): Promise<string> {
    for (;;) {
      const connection = await this.#connect(signal)
      const answer = await this.#ask(connection, text, signal)
      if (answer?.kind === 'signed') return this.#checked(answer.note, text, connection.key)
      if (answer?.kind === 'refused') {
        throw new SignerRefusedError(`the signer at ${this.#path} refuses: ${answer.reason}`, answer.signed)
      }
      await pause(answer?.ms ?? FIRST_PAUSE_MS, signal)
    }
  }

  async #ask(connection: Connection, text: string, signal: AbortSignal): Promise<Answer | undefined> {
    const { socket } = connection
    // The process may end while nothing is asked for.
    socket.ref()
    try {
      return await orEnd(connection.ask(text), socket, signal)
    } catch (error) {
      if (signal.aborted) throw error
      return undefined
    } finally {
      socket.unref()
    }
  }

  #checked(note: string, text: string, key: VerifierKey): string {
    if (parseNote(note).text !== text) throw new SignerRefusedError(`the signer at ${this.#path} signed another text`)
    verifyNote(note, [key])
    return note
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    for (let waitMs = FIRST_PAUSE_MS; ; waitMs = Math.min(2 * waitMs, MAX_PAUSE_MS)) {
      if (this.#connection?.socket.destroyed === false) return this.#connection
      try {
        this.#connection = await connect(this.#path, signal)
      } catch (error) {
        if (signal.aborted || error instanceof IntegrityError) throw error
        await pause(waitMs, signal, error)
        continue
      }
      const { key } = this.#connection
      if (this.#key !== undefined && this.#key.name !== key.name) {
        const message = `the signer at ${this.#path} has the key of ${quoted(key.name)} now, not of ${quoted(this.#key.name)}`
        throw new SignerRefusedError(message)
      }
      this.#key = key
    }
  }

  async #inTime<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    const timeout = AbortSignal.timeout(this.#timeoutMs)
    try {
      return await work(AbortSignal.any([timeout, this.#closed.signal]))
    } catch (error) {
      if (error instanceof IntegrityError) throw error
      const reason = this.#closed.signal.aborted ? 'closed' : `no answer within ${this.#timeoutMs / 1000} s`
      const detail =
        error instanceof Error && 'code' in error && typeof error.code === 'string' ? ` (${error.code})` : ''
      const message = `the signer at ${this.#path}: ${reason}${detail}`
      throw new AuditUnavailableError('SIGNER_UNAVAILABLE', message, { cause: error })
    }
  }
}

/** Resolves with the greeting. */
function connect(path: string, signal: AbortSignal): Promise<Connection> {
  const socket = createConnection(path)
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = []
  const nextLine = (): Promise<string> => new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  const take = lineSplitter((line) => waiting.shift()?.resolve(line))
  socket.setEncoding('utf8').on('data', (part: Buffer | string) => {
    if (!take(part.toString())) socket.destroy()
  })
  let failure: Error | undefined
  socket.on('error', (error) => (failure = error))
  socket.on('close', () => {
    for (const { reject } of waiting.splice(0)) reject(failure ?? new Error('the connection ended'))
  })
  const ask = async (text: string): Promise<Answer> => {
    // Its end has been told to what waited before.
    if (socket.destroyed) throw new Error('the connection ended')
    const line = nextLine()
    socket.write(formatRequest(text))
    const answer = parseAnswer(await line)
    if (answer !== undefined) return answer
    socket.destroy()
    throw new Error('the answer is not of the protocol')
  }
  return orEnd(nextLine(), socket, signal).then((line) => {
    socket.unref()
    const [greeting, vkey = '', ...more] = line.split(' ')
    if (greeting === GREETING && more.length === 0) return { socket, key: VerifierKey.parse(vkey), ask }
    socket.destroy()
    throw new SignerRefusedError(
      `${path}: expected a signer, which greets with "${GREETING} <vkey>", found ${quoted(line)}`,
    )
  })
}

async function pause(ms: number, signal: AbortSignal, reason?: unknown): Promise<void> {
  const { setTimeout: sleep } = process.getBuiltinModule('node:timers/promises')
  try {
    await sleep(ms, undefined, { signal })
  } catch (error) {
    throw reason ?? error
  }
}

/** The promise, which the end of the socket rejects; the signal ends the socket. */
async function orEnd<Result>(promise: Promise<Result>, socket: Socket, signal: AbortSignal): Promise<Result> {
  const end = (): void => void socket.destroy()
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) end()
  try {
    return await promise
  } finally {
    signal.removeEventListener('abort', end)
  }
}
