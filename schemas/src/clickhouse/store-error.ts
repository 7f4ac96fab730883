/**
 * ClickHouse's errors as errors of the trail: the one translation, so that the same trouble has the same code in the consumer
 * and in analytics. It knows the errors of @clickhouse/client by their shape alone: this package does not depend on the client.
 */
import { AuditUnavailableError, IntegrityError, type TrailError } from '../errors.ts'
import { tlsFault } from '../tls.ts'

/** The request that failed, for the message. */
export interface StoreRequest {
  /** Host and port of the server. */
  readonly server: string
  readonly username: string
  readonly database: string
  /** What was asked: the statement, or its purpose in words. The message has its beginning. */
  readonly asked: string
  /** Set if the caller's own time limit ended the request; the setting that gives the limit, where there is one. */
  readonly timedOut?: { readonly ms: number; readonly setting?: string } | undefined
}

const ASKED_CHARACTERS = 100
const SAID_CHARACTERS = 500

type Meaning = 'denied' | 'missing' | 'limit' | 'wrong'
/** Codes of ClickHouse's ErrorCodes.cpp. A code that is in no list counts as temporary. */
const CODES: Readonly<Record<Meaning, readonly number[]>> = {
  // READONLY, UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, IP_ADDRESS_NOT_ALLOWED, SETTING_CONSTRAINT_VIOLATION,
  // ACCESS_DENIED, AUTHENTICATION_FAILED
  denied: [164, 192, 193, 194, 195, 452, 497, 516],
  // UNKNOWN_TABLE, UNKNOWN_DATABASE
  missing: [60, 81],
  // TOO_MANY_ROWS, TIMEOUT_EXCEEDED, TOO_SLOW, QUOTA_EXCEEDED, TOO_MANY_SIMULTANEOUS_QUERIES, SOCKET_TIMEOUT,
  // MEMORY_LIMIT_EXCEEDED, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE, TOO_MANY_PARTS, TOO_MANY_BYTES, QUERY_WAS_CANCELLED,
  // TOO_MANY_ROWS_OR_BYTES, SERVER_OVERLOADED
  limit: [158, 159, 160, 201, 202, 209, 241, 242, 243, 252, 307, 394, 396, 745],
  // The server cannot parse the request, or it names what does not exist, or a value does not fit.
  wrong: [
    6, 8, 16, 27, 34, 35, 36, 38, 41, 42, 43, 44, 46, 47, 50, 53, 62, 63, 69, 70, 72, 115, 179, 184, 206, 207, 215, 352,
    386, 395, 407, 456, 457,
  ],
}
const MEANING: ReadonlyMap<number, Meaning> = new Map(
  Object.entries(CODES).flatMap(([meaning, codes]) => codes.map((code) => [code, meaning as Meaning] as const)),
)
/** Codes whose messages quote the value that did not fit, which may be content of an event. */
const QUOTING: ReadonlySet<number> = new Set([6, 27, 38, 41, 69, 70, 72, 395])
const AUTHENTICATION_FAILED = 516

/**
 * Translates an error of a request to ClickHouse.
 *
 * | trouble                                                    | code                | retryable |
 * | ---------------------------------------------------------- | ------------------- | --------- |
 * | wrong user or password, a right or a setting is refused    | `ACCESS_DENIED`     | no        |
 * | a table or the database is missing                         | `STORE_REFUSED`     | no        |
 * | the statement or a value is wrong                          | `STORE_REFUSED`     | no        |
 * | a limit of the server or the caller's own time limit       | `STORE_LIMIT`       | yes       |
 * | any other error of the server                              | `STORE_REFUSED`     | yes       |
 * | a certificate is refused, by the client or by the server   | `TLS_REFUSED`       | no        |
 * | no answer: refused connection, cut connection, unknown host | `STORE_UNAVAILABLE` | yes       |
 */
export function storeError(cause: unknown, request: StoreRequest): TrailError {
  const code = codeOf(cause)
  const at = `ClickHouse at ${request.server.replace(/\/\/[^/]*@/, '//')}`
  const asked = `(asked as user "${request.username}" in database "${request.database}": ${beginning(request.asked)})`
  if (request.timedOut !== undefined) {
    const { ms, setting } = request.timedOut
    const limit = setting === undefined ? `${ms} ms` : `${ms} ms (${setting})`
    return new AuditUnavailableError('STORE_LIMIT', `${at} did not complete its answer within ${limit} ${asked}`, {
      cause,
    })
  }
  if (code === undefined) {
    const fault = tlsFault(cause, 'CLICKHOUSE')
    if (fault?.certain === true) return new IntegrityError('TLS_REFUSED', `${at}: ${fault.text}`, { cause })
    const why = fault === undefined ? reasonOf(cause) : `${reasonOf(cause)}: ${fault.text}`
    return new AuditUnavailableError('STORE_UNAVAILABLE', `${at} cannot be reached: ${why} ${asked}`, { cause })
  }
  const said = saidBy(cause as Error, code)
  switch (MEANING.get(code)) {
    case 'denied': {
      const why = code === AUTHENTICATION_FAILED ? 'wrong password, or no such user' : said
      return new IntegrityError('ACCESS_DENIED', `${at} refuses user "${request.username}": ${why} ${asked}`, { cause })
    }
    case 'missing': {
      const message = `${at} holds no trail in database "${request.database}": run \`agent-audit setup\` first (${said}) ${asked}`
      return new IntegrityError('STORE_REFUSED', message, { cause })
    }
    case 'limit':
      return new AuditUnavailableError('STORE_LIMIT', `${at} ended the request at a limit: ${said} ${asked}`, { cause })
    case 'wrong': {
      const message = `${at} cannot run the request, which is wrong or does not fit the tables: ${said} ${asked}`
      return new IntegrityError('STORE_REFUSED', message, { cause })
    }
    default:
      return new AuditUnavailableError('STORE_REFUSED', `${at} failed: ${said} ${asked}`, { cause })
  }
}

/** The server's code: digits in the client's error, where Node.js's errors have a name such as ECONNREFUSED. */
function codeOf(cause: unknown): number | undefined {
  const { code } = (cause ?? {}) as { code?: unknown }
  return cause instanceof Error && typeof code === 'string' && /^\d+$/.test(code) ? Number(code) : undefined
}

function saidBy({ message, type }: Error & { type?: string }, code: number): string {
  const name = type === undefined ? `code ${code}` : `code ${code}, ${type}`
  if (QUOTING.has(code)) return name
  return `${(message.split('\n', 1)[0] ?? '').trim().slice(0, SAID_CHARACTERS)} (${name})`
}

function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return cause.errors.map(reasonOf).join(', ')
  const reason = cause instanceof Error ? ((cause as { code?: string }).code ?? cause.message) : String(cause)
  return reason.slice(0, SAID_CHARACTERS)
}

function beginning(asked: string): string {
  const line = asked.replaceAll(/\s+/g, ' ').trim()
  return line.length > ASKED_CHARACTERS ? `${line.slice(0, ASKED_CHARACTERS)}…` : line
}
