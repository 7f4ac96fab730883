/** The key that a trail seals its records with. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { idOfKeyName, keyNameOf, openKeyFile, signerFromPem } from '@agent-audit/seals'
import { InvalidInputError, type Issue } from '@agent-audit/schemas'
import { z } from 'zod'

/** A private key, as the file of `agent-audit keys generate` or its text; or the Unix socket of `agent-audit signer`. */
export type SigningOption = { keyFile: string } | { key: string } | { socket: string }

/**
 * The key as text: delivery opens it in its own thread, and again after a failure, when the file may be gone. Or the absolute path of
 * a signer's socket.
 */
export type Signing = ({ readonly pem: string } | { readonly socket: string }) & {
  /** The producer_id, percent-encoded: the key of another producer is refused. */
  readonly keyName: string
}

export const signingSchema: z.ZodType<SigningOption, SigningOption> = z.union([
  z.strictObject({ keyFile: z.string().min(1) }),
  z.strictObject({ key: z.string().min(1) }),
  z.strictObject({ socket: z.string().min(1) }),
])

/**
 * Reads the key, and signs nothing yet. A signer may start later: nothing is asked of it here.
 * @returns undefined: neither the option nor the environment names a key or a signer.
 */
export function readSigning(
  option: SigningOption | undefined,
  producerId: string,
  issues: Issue[],
): Signing | undefined {
  const given = option ?? fromEnvironment(issues)
  if (given === undefined) return undefined
  const keyName = keyNameOf(producerId)
  if ('socket' in given) return { socket: resolve(given.socket), keyName }
  try {
    if ('key' in given) return { pem: checked(given.key, keyName), keyName }
    // Mode and owner of the file are checked here; the text is read right after.
    openKeyFile(given.keyFile, keyName)
    return { pem: checked(readFileSync(given.keyFile, 'utf8'), keyName), keyName }
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error
    issues.push({ path: option === undefined ? 'AUDIT_SIGNING_KEY_FILE' : 'signing', expected: error.message })
    return undefined
  }
}

function fromEnvironment(issues: Issue[]): SigningOption | undefined {
  const { AUDIT_SIGNING_KEY_FILE: keyFile, AUDIT_SIGNER_SOCKET: socket } = process.env
  if (keyFile && socket)
    issues.push({ path: 'AUDIT_SIGNER_SOCKET', expected: 'expected no AUDIT_SIGNING_KEY_FILE beside it' })
  if (keyFile) return { keyFile }
  return socket ? { socket } : undefined
}

/**
 * The producer_id that a key belongs to, for a process that seals what others left; undefined: the file cannot be used, or names no
 * producer.
 */
export function producerOfKey(keyFile: string): string | undefined {
  try {
    return idOfKeyName(openKeyFile(keyFile).keyName)
  } catch {
    return undefined // The trail that is made with it says what is wrong.
  }
}

function checked(pem: string, keyName: string): string {
  signerFromPem(pem, keyName)
  return pem
}
