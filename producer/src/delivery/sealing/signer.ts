/** What seals are signed with: a key in this thread, or a signer in another process, which is asked over its socket. */
import {
  connectSigner,
  type NoteSigner,
  type RemoteSigner,
  signerFromPem,
  SignerRefusedError,
  VerifierKey,
  verifyNote,
} from '@agent-audit/seals'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Signing } from '../../options/signing.ts'

/** Longest wait for a connection or a signature; the same text is then asked for again. */
const TIMEOUT_MS = 5000

export interface Signer extends Pick<NoteSigner, 'sign'> {
  close(): void
}

export function openSigner(signing: Signing): Signer {
  if ('socket' in signing) return new SocketSigner(signing)
  const signer = signerFromPem(signing.pem, signing.keyName)
  return { sign: (text) => signer.sign(text), close: () => {} }
}

/** Connects when there is something to sign, and again after each failure: a signer may start later than its agent. */
class SocketSigner implements Signer {
  readonly #signing: Signing & { readonly socket: string }
  #connected: Promise<RemoteSigner> | undefined

  constructor(signing: Signing & { readonly socket: string }) {
    this.#signing = signing
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
    const { socket, keyName } = this.#signing
    const connecting = (this.#connected ??= connectSigner(socket, { timeoutMs: TIMEOUT_MS }))
    try {
      const signer = await connecting
      if (signer.keyName === keyName) return signer
      signer.close()
      const message = `the signer at ${socket} has the key of "${signer.keyName}", not of "${keyName}"`
      throw new InvalidInputError('KEY_INVALID', message)
    } catch (error) {
      this.#connected = undefined
      throw error
    }
  }

  close(): void {
    this.#connected?.then(
      (signer) => signer.close(),
      () => {},
    )
  }
}
