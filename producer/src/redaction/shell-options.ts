/** Finds secrets that a shell line gives to a program: `--password v`, `curl -u bob:v`, `sshpass -p v`. */
import type { Hit } from './pattern.ts'
import type { SecretNames } from './secret-names.ts'
import { bareEnd, isPlain, quotedValue, replaceSpans, skipBlanks } from './value-ends.ts'
import type { Span } from './value-ends.ts'

interface Rules {
  readonly names: SecretNames
  readonly hit: Hit
}

const OPTION = /(?<![\w-]|\\[nrt])--[\w-]+(?=[ \t])|(?<=\\[nrt])--[\w-]+(?=[ \t])/g
/** Words that follow the name of an option in prose. */
const PROSE =
  /^(?:-.*|=.*|is|are|and|or|option|flag|argument|to|for|from|in|on|with|the|was|when|if|via|[A-Z_]+|<.*)[.,;:)]*$/
const USER = /(?<=(?:^|[\s"'`])(?:-[uU]|--(?:proxy-)?user)(?:[ \t]+|=)["'`]?[^\s:"'`/]+):(?=\S)/gm
/** Programs whose short option takes a password, with the rest of their line. */
const PROGRAM =
  /\b(?:sshpass|mysql\w*|mariadb\w*|login|redis-cli|ldap\w+)\b(?:[^\r\n|;&"']|"[^"\r\n]*"|'[^'\r\n]*'|["'])*/g
const SHORT_SIGN = /-[uU](?:[ \t=]|\\+t)|sshpass|mysql|mariadb|login|redis-cli|ldap/
/** By the first letters of the program. */
const SHORT_OPTIONS: Readonly<Record<string, RegExp>> = {
  ss: /\s-p[ \t]*(?=\S)/g,
  my: /\s-p(?=\S)/g,
  ma: /\s-p(?=\S)/g,
  lo: /\s-p[ \t]+(?=\S)/g,
  re: /\s-a[ \t]+(?=\S)/g,
  ld: /\s-w[ \t]+(?=\S)/g,
}
const PORTS = /^\d+(?::\d+)*$/

/** Whether {@link redactOptions} may find something, also in JSON that contains such a text. */
export function hasOption(text: string, names: SecretNames): boolean {
  let isLooked = false
  for (let at = text.indexOf('-'); at >= 0; at = text.indexOf('-', at + 1)) {
    const next = text.charCodeAt(at + 1)
    if (next === 45) {
      const end = wordEnd(text, at + 2)
      if (names.endsAt(text, end) || text.startsWith('user', end - 4)) return true
      at = end - 1
    } else if (!isLooked && isShortOption(next) && !isWithinWord(text, at)) {
      if (SHORT_SIGN.test(text)) return true
      isLooked = true
    }
  }
  return false
}

function wordEnd(text: string, at: number): number {
  let end = at
  while (isWord(text.charCodeAt(end))) end++
  return end
}

/** An ASCII letter or digit, `_` or `-`. */
function isWord(code: number): boolean {
  const letter = code | 32
  return (letter >= 97 && letter <= 122) || (code >= 48 && code <= 57) || code === 95 || code === 45
}

/** `-u`, `-U`, `-p`, `-a`, `-w`. */
function isShortOption(code: number): boolean {
  return code === 117 || code === 85 || code === 112 || code === 97 || code === 119
}

/** A letter or digit precedes; the letter of an escaped line break does not count. */
function isWithinWord(text: string, at: number): boolean {
  return at > 0 && isWord(text.charCodeAt(at - 1)) && text.charCodeAt(at - 2) !== 92
}

/** Redacts the values of options; programs and options stay. */
export function redactOptions(text: string, { names, hit }: Rules): string {
  if (!text.includes('-')) return text
  const secret = (): string => hit('key')
  const long = replaceSpans(text, OPTION, secret, ({ index, 0: option }) => {
    const end = index + option.length
    const value = names.endsAt(text, end) ? argument(text, skipBlanks(text, end)) : undefined
    return value === undefined || PROSE.test(text.slice(value.start, value.end)) ? undefined : value
  })
  const user = replaceSpans(long, USER, secret, ({ index }) => argument(long, index + 1))
  return user.replace(PROGRAM, (line) => {
    const option = SHORT_OPTIONS[line.slice(0, 2)]
    if (option === undefined) return line
    return replaceSpans(line, option, secret, ({ index, 0: { length } }) => argument(line, index + length))
  })
}

function argument(text: string, start: number): Span | undefined {
  const value = quotedValue(text, start) ?? { start, end: bareEnd(text, start) }
  const shown = text.slice(value.start, value.end)
  return shown === '' || PORTS.test(shown) || isPlain(shown) ? undefined : value
}
