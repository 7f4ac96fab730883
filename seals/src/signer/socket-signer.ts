/** A signer in another process, for a caller that goes on without it. */
import { InvalidInputError } from '@agent-audit/schemas'
import type { NoteSigner } from '../keys/key-file.ts'
import { verifyNote } from '../notes/note.ts'
import { VerifierKey } from '../notes/verifier-key.ts'
import { connectSigner, type RemoteSigner, SignerRefusedError } from './signer-client.ts'

export interface SocketSignerOptions {
  readonly socket: string
  /** Name of the only key that is taken. @defaultValue any */
  readonly keyName?: string | undefined
}

/** Longest wait for a connection or a signature; the caller then asks for the same text again. */
const TIMEOUT_MS = 5000

/** Connects when there is something to sign, and again after each failure: a signer may start later than its agent. */
export class SocketSigner implements Pick<NoteSigner, 'sign'> {
  readonly #options: SocketSignerOptions
  readonly #closed = new AbortController()
  #connected: Promise<RemoteSigner> | undefined

  constructor(options: SocketSignerOptions) {
    this.#options = options
  }

  async sign(text: string): Promise<string> {
    const signer = await this.#connect()
    try {
      return await signer.sign(text)
    } catch (error) {
      // A note that it signed before may be taken for the seal that is asked for: not without its signature.
      if (error instanceof SignerRefusedError && error.signed !== undefined) {
        verifyNote(error.signed, [VerifierKey.parse(signer.vkey)])
      }
      throw error
    }
  }

  async #connect(): Promise<RemoteSigner> {
    const { socket, keyName } = this.#options
    const connecting = (this.#connected ??= connectSigner(socket, {
      timeoutMs: TIMEOUT_MS,
      signal: this.#closed.signal,
    }))
    try {
      const signer = await connecting
      if (keyName === undefined || signer.keyName === keyName) return signer
      signer.close()
      const message = `the signer at ${socket} has the key of "${signer.keyName}", not of "${keyName}"`
      throw new InvalidInputError('KEY_INVALID', message)
    } catch (error) {
      this.#connected = undefined
      throw error
    }
  }

  /** Rejects what is asked for. */
  close(): void {
    this.#closed.abort()
  }
}
