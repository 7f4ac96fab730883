/** System prompts are stamped as a digest on every event; the text itself is recorded once a run. */
import { hash } from 'node:crypto'

/** Most digests remembered as recorded. Above it, texts are recorded again. */
const MAX_KNOWN = 10_000

export interface PromptUse {
  /** SHA-256, 32 bytes. */
  readonly hash: Uint8Array
  /** The text, if this run has not recorded it yet. */
  readonly text: string | undefined
}

export class SystemPrompts {
  readonly #recorded: Set<string> = new Set<string>()

  /** Undefined when there is no prompt. Call {@link recorded} once the text is in a record. */
  use(prompt: string | { sha256: string } | null | undefined): PromptUse | undefined {
    if (prompt === null || prompt === undefined) return undefined
    if (typeof prompt !== 'string') return { hash: Buffer.from(prompt.sha256, 'hex'), text: undefined }
    const digest = hash('sha256', prompt, 'buffer')
    return { hash: digest, text: this.#recorded.has(digest.toString('hex')) ? undefined : prompt }
  }

  recorded({ hash: digest, text }: PromptUse): void {
    if (text === undefined) return
    if (this.#recorded.size >= MAX_KNOWN) this.#recorded.clear()
    this.#recorded.add(Buffer.from(digest).toString('hex'))
  }
}
