/** What seals are signed with: a key in this thread, or a signer in another process, which is asked over its socket. */
import { type NoteSigner, signerFromPem, SocketSigner } from '@agent-audit/seals'
import type { Signing } from '../../options/signing.ts'

export interface Signer extends Pick<NoteSigner, 'sign'> {
  close(): void
}

export function openSigner(signing: Signing): Signer {
  if ('socket' in signing) return new SocketSigner(signing)
  const signer = signerFromPem(signing.pem, signing.keyName)
  return { sign: (text) => signer.sign(text), close: () => {} }
}
