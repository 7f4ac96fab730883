/** The trust file of a guard: whose signatures of decisions count. It is read for each decision, so that a revocation counts at once. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { openTrust, type Trust, VerifierKey } from '@agent-audit/seals'
import { InvalidInputError } from '@agent-audit/schemas'

export class ApprovalTrust {
  /** Absolute: the agent may change its working directory. */
  readonly file: string
  readonly #root: VerifierKey | undefined
  #read: { readonly text: string; readonly trust: Trust } | undefined

  /** @param root - vkey of the root key that must have signed the file. @throws IntegrityError `SEAL_INVALID` */
  constructor(file: string, root: string | undefined) {
    this.file = resolve(file)
    this.#root = root === undefined ? undefined : VerifierKey.parse(root)
  }

  /** @throws InvalidInputError `INPUT_UNREADABLE`; IntegrityError `SEAL_INVALID`, `SIGNATURE_INVALID`. */
  read(): Trust {
    const text = this.#text()
    // Parsing checks a signature and each key: for an unchanged file that is done once.
    if (this.#read?.text !== text) this.#read = { text, trust: openTrust(text, this.#root) }
    return this.#read.trust
  }

  #text(): string {
    try {
      return readFileSync(this.file, 'utf8')
    } catch (error) {
      const why = (error as NodeJS.ErrnoException).code ?? String(error)
      throw new InvalidInputError('INPUT_UNREADABLE', `trust file ${this.file}: cannot be read (${why})`, {
        cause: error,
      })
    }
  }
}
