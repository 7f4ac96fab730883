/** The key that a trail seals its records with. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { keyNameOf, openKeyFile, signerFromPem } from '@agent-audit/seals'
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
  const found = option === undefined ? fromEnvironment(issues) : { option, path: 'signing' }
  if (found === undefined) return undefined
  const { option: given, path } = found
  const keyName = keyNameOf(producerId)
  if ('socket' in given) return { socket: resolve(given.socket), keyName }
  try {
    if ('key' in given) return { pem: checked(given.key, keyName), keyName }
    // Mode and owner of the file are checked here; the text is read right after.
    openKeyFile(given.keyFile, keyName)
    return { pem: checked(readFileSync(given.keyFile, 'utf8'), keyName), keyName }
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error
    issues.push({ path, expected: error.message })
    return undefined
  }
}

/** The one of three variables that is set. */
const VARIABLES = {
  AUDIT_SIGNING_KEY_FILE: (keyFile: string): SigningOption => ({ keyFile }),
  // In a variable `\n` may stand for a line feed.
  AUDIT_SIGNING_KEY: (key: string): SigningOption => ({ key: key.replaceAll('\\n', '\n') }),
  AUDIT_SIGNER_SOCKET: (socket: string): SigningOption => ({ socket }),
} as const

function fromEnvironment(issues: Issue[]): { option: SigningOption; path: string } | undefined {
  const set = Object.entries(VARIABLES).flatMap(([path, read]) => {
    const text = process.env[path]
    return text ? [{ path, option: read(text) }] : []
  })
  const [first, second] = set
  if (first !== undefined && second !== undefined)
    issues.push({ path: second.path, expected: `expected no ${first.path} beside it` })
  return first
}

function checked(pem: string, keyName: string): string {
  signerFromPem(pem, keyName)
  return pem
}
