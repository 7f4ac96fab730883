/** Texts of fixed lines: each line is one tag and its fields, apart by one space. What a reader refuses names its line. */
import { IntegrityError } from '@agent-audit/schemas'

const MAX_QUOTED = 80

/** A part of a text for a message: printable ASCII alone, since the text may come from an attacker. */
export function quoted(text: string): string {
  const cut = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text
  return `"${cut.replaceAll(/[^ !#-[\]-~…]/g, escaped)}"`
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** Base64 of RFC 4648 section 4, in its one canonical form. @returns undefined for any other text */
export function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

const HASH_BYTES = 32

/** Reads the lines of a text in order. */
export class LineReader {
  readonly #what: string
  readonly #lines: readonly string[]
  #at = 0

  /** @param what - Names the text in messages, such as `producer seal`. */
  constructor(what: string, text: string) {
    this.#what = what
    if (!text.endsWith('\n')) throw invalid(`${what}: expected a line feed at its end`)
    this.#lines = text.slice(0, -1).split('\n')
  }

  /** The line itself, which must exist. */
  line(expected: string): string {
    const line = this.#lines[this.#at]
    this.#at += 1
    return line ?? this.fail(expected)
  }

  /** The fields behind the tag of the next line: exactly `count` of them, none empty. */
  fields<Count extends number>(tag: string, count: Count, expected: string): Fields<Count> {
    const [given, ...fields] = this.line(expected).split(' ')
    if (given !== tag || fields.length !== count || fields.includes('')) this.fail(expected)
    return fields as unknown as Fields<Count>
  }

  /** Whether the next line has this tag. */
  has(tag: string): boolean {
    return this.#lines[this.#at]?.startsWith(`${tag} `) === true
  }

  get atEnd(): boolean {
    return this.#at >= this.#lines.length
  }

  /** Refuses lines behind the last one. */
  end(): void {
    if (this.atEnd) return
    this.#at += 1
    this.fail('no further line')
  }

  /** Refuses the line that was read last. */
  fail(expected: string): never {
    const line = this.#lines[this.#at - 1]
    throw invalid(
      `${this.#what}, line ${this.#at}: expected ${expected}, found ${line === undefined ? 'the end' : quoted(line)}`,
    )
  }

  /** A number of the line that was read last: decimal, without leading zeros, at most 2^53 - 1. */
  integer(text: string, expected: string): number {
    const value = Number(text)
    return /^(0|[1-9][0-9]{0,15})$/.test(text) && Number.isSafeInteger(value) ? value : this.fail(expected)
  }

  /** 32 bytes of Base64, of the line that was read last. */
  hash(text: string, expected: string): Buffer {
    const bytes = fromBase64(text)
    return bytes?.length === HASH_BYTES ? bytes : this.fail(expected)
  }

  /** Lower-case hexadecimal digits of the line that was read last. */
  hex(text: string, digits: number, expected: string): string {
    return text.length === digits && /^[0-9a-f]+$/.test(text) ? text : this.fail(expected)
  }
}

type Fields<Count extends number> = Count extends 1
  ? [string]
  : Count extends 2
    ? [string, string]
    : Count extends 3
      ? [string, string, string]
      : [string, string, string, string]

/** The error of a text that is not of its form. */
export function invalid(message: string): IntegrityError {
  return new IntegrityError('SEAL_INVALID', message)
}
