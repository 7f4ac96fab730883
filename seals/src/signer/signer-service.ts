/**
 * A signer in a process of its own. An agent that was taken over can have its next seals signed as long as that lasts, one a
 * second; it cannot have another history signed for what was sealed before.
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { AuditUnavailableError, InvalidInputError, TrailError } from '@agent-audit/schemas'
import type { KeySigner } from '../keys/key-file.ts'
import { type Answer, formatAnswer, GREETING, lineSplitter, parseRequest } from './protocol.ts'
import { SignedRuns } from './signed-runs.ts'
import { isRepeat, readRequest, type SealRequest, type SignerRole } from './signing-rules.ts'

export interface SignerOptions {
  readonly signer: KeySigner
  readonly socketPath: string
  readonly stateFile: string
  /** Whose seals it signs. @defaultValue 'producer' */
  readonly role?: SignerRole
  /** Members of the group of the socket's folder may connect as well. @defaultValue the owner alone */
  readonly group?: boolean
  /** One signature a run or partition in this time. @defaultValue 1000 */
  readonly intervalMs?: number
  /** What an operator should know: refusals, clocks that differ. Never throws. */
  readonly onNotice?: (message: string) => void
}

const INTERVAL_MS = 1_000
/** A producer's clock may differ by so much before it is told. */
const MAX_CLOCK_DIFFERENCE_MS = 5_000
/** Runs whose last signature is remembered for the rate; above it, those of long ago are forgotten. */
const MAX_RECENT = 10_000
/** A new run, in place of a run, has its turn after every other new run. */
const NEW_RUNS = 'new'

export class SignerService {
  readonly #options: SignerOptions
  readonly #runs: SignedRuns
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** When the last signature of a run was made, by the monotonic clock. */
  readonly #signedAt = new Map<string, number>()

  private constructor(options: SignerOptions, runs: SignedRuns) {
    this.#options = options
    this.#runs = runs
    this.#server = createServer((socket) => this.#serve(socket))
  }

  /** @throws TrailError: KEY_INVALID for a folder that others can use, SIGNER_UNAVAILABLE, SEAL_INVALID for another state file */
  static async start(options: SignerOptions): Promise<SignerService> {
    const { socketPath, stateFile, signer, group = false } = options
    checkFolder(dirname(socketPath), group)
    const service = new SignerService(options, new SignedRuns(stateFile, signer.keyName))
    try {
      await service.#listen(socketPath, group)
    } catch (error) {
      service.#runs.close()
      throw error
    }
    return service
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
    this.#runs.close()
  }

  async #listen(path: string, group: boolean): Promise<void> {
    await removeStale(path)
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => {
        const message = `cannot listen on ${path}: ${error.message}`
        reject(new AuditUnavailableError('SIGNER_UNAVAILABLE', message, { cause: error }))
      })
      this.#server.listen(path, resolve)
    })
    // Until now its folder alone keeps others away.
    chmodSync(path, group ? 0o660 : 0o600)
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket)).on('error', () => socket.destroy())
    socket.setEncoding('utf8').write(`${GREETING} ${this.#options.signer.vkey}\n`)
    const take = lineSplitter((line) => socket.write(formatAnswer(this.#answerLine(line))))
    socket.on('data', (part: Buffer | string) => {
      if (!take(part.toString())) socket.destroy()
    })
  }

  #answerLine(line: string): Answer {
    const text = parseRequest(line)
    const answer = text === undefined ? refused('expected "sign <Base64 of a text>"') : this.#answer(text)
    if (answer.kind === 'refused') this.#options.onNotice?.(`refused to sign: ${answer.reason}`)
    return answer
  }

  #answer(text: string): Answer {
    try {
      const { signer, role = 'producer' } = this.#options
      const request = readRequest(text, role, signer.keyName)
      const before = this.#runs.get(request.chain)
      if (before !== undefined && isRepeat(text, before)) return { kind: 'signed', note: before.note }
      const refusal = request.refusal(before)
      if (refusal !== undefined) return refused(`${request.title}: ${refusal}`, before?.note)
      // A consumer may get all partitions of a topic at once.
      const isNewRun = before === undefined && role === 'producer'
      const wait = this.#waitOf(isNewRun ? [NEW_RUNS] : [request.chain])
      return wait > 0 ? { kind: 'later', ms: wait } : this.#sign(text, request, isNewRun)
    } catch (error) {
      if (error instanceof TrailError) return refused(error.message)
      throw error
    }
  }

  #sign(text: string, { chain, title, kept, time }: SealRequest, isNewRun: boolean): Answer {
    const note = this.#options.signer.sign(text)
    // Stored before it is answered: what may be out there is never signed again in another form.
    this.#runs.set(chain, { ...kept, note })
    this.#remember(chain)
    if (isNewRun) this.#remember(NEW_RUNS)
    const difference = (time ?? Date.now()) - Date.now()
    if (Math.abs(difference) > MAX_CLOCK_DIFFERENCE_MS) {
      const seconds = Math.round(difference / 1000)
      this.#options.onNotice?.(`${title}, seal ${kept.number}: its time is ${seconds} s from the signer's clock`)
    }
    return { kind: 'signed', note }
  }

  #waitOf(names: readonly string[]): number {
    const { intervalMs = INTERVAL_MS } = this.#options
    const now = performance.now()
    return Math.max(...names.map((name) => (this.#signedAt.get(name) ?? Number.NEGATIVE_INFINITY) + intervalMs - now))
  }

  #remember(name: string): void {
    this.#signedAt.delete(name)
    this.#signedAt.set(name, performance.now())
    const [oldest] = this.#signedAt.keys()
    if (this.#signedAt.size > MAX_RECENT && oldest !== undefined) this.#signedAt.delete(oldest)
  }
}

function refused(reason: string, signed?: string): Answer {
  return { kind: 'refused', reason, signed }
}

/** The folder of the socket, made if it is missing: nobody but its owner (and group) may pass it. */
function checkFolder(folder: string, group: boolean): void {
  mkdirSync(folder, { recursive: true, mode: group ? 0o750 : 0o700 })
  const { mode, uid } = lstatSync(folder)
  const found = (mode & 0o777).toString(8).padStart(4, '0')
  const forbidden = group ? 0o027 : 0o077
  if ((mode & forbidden) !== 0) {
    const expected = group ? '0750' : '0700'
    throw new InvalidInputError(
      'KEY_INVALID',
      `${folder}: expected mode ${expected}, found ${found}: others could reach the socket`,
    )
  }
  const user = process.getuid?.()
  if (user !== undefined && uid !== user) {
    throw new InvalidInputError('KEY_INVALID', `${folder}: expected a folder of user ${user}, found one of user ${uid}`)
  }
}

/** A socket file that no process listens on is left of a signer that was killed. */
async function removeStale(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe = createConnection(path, () => {
      probe.destroy()
      resolve(true)
    }).on('error', () => resolve(false))
  })
  if (alive) throw new AuditUnavailableError('SIGNER_UNAVAILABLE', `${path}: another signer listens there`)
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path)
}
