/**
 * Reads the body of an answer in JSONEachRow: a row a line. The client's own reader is not used: it loses the server's error
 * where it lies across two chunks, and drops the last line of an answer that was cut.
 */

/**
 * Each line of a row starts with it. Another line begins an error that the server has met after it had sent rows: a single
 * carriage return, then the error between two tags. Servers before 25.11 write the error without tags.
 */
const ROW_STARTS = '{'
const NEWLINE = 0x0a
/**
 * An integer of so many digits may be above 2^53. A value of JSON stands behind one of these; a digest or an id in a text does
 * not, and the slow way for it would be most of the time of reading events.
 */
const LONG_INTEGER = /[:,[]-?\d{16}/

/**
 * The rows of a body, a chunk of it in memory at a time, and one row where a row is longer.
 * @throws the error that the server wrote into the body, in the form of the client's errors; Error if the body ends within a row.
 */
export async function* readAnswer(body: AsyncIterable<Buffer>): AsyncGenerator {
  let pending: Buffer[] = []
  for await (const chunk of body) {
    const end = chunk.lastIndexOf(NEWLINE)
    if (end < 0) {
      pending.push(chunk)
      continue
    }
    const lines = Buffer.concat([...pending, chunk.subarray(0, end)])
      .toString('utf8')
      .split('\n')
    const rest = chunk.subarray(end + 1)
    pending = rest.length > 0 ? [rest] : []
    const wrong = lines.findIndex((line) => !line.startsWith(ROW_STARTS))
    for (const line of wrong < 0 ? lines : lines.slice(0, wrong)) yield parseRow(line)
    if (wrong >= 0) throw await errorIn(lines.slice(wrong), rest, body)
  }
  const left = Buffer.concat(pending).toString('utf8')
  if (left === '') return
  throw left.startsWith(ROW_STARTS) ? new Error('the answer ends within a row') : serverError(left)
}

/** The server's error, which ends the body. */
async function errorIn(lines: readonly string[], rest: Buffer, body: AsyncIterable<Buffer>): Promise<Error> {
  const text = [Buffer.from(lines.join('\n')), Buffer.from('\n'), rest]
  try {
    for await (const chunk of body) text.push(chunk)
  } catch {
    // After an error the server closes the connection without ending the body.
  }
  return serverError(Buffer.concat(text).toString('utf8'))
}

function serverError(text: string): Error {
  const [, code, message, type] = /Code: (\d+)\. DB::Exception: ([^]*?) \(([A-Z0-9_]+)\)/.exec(text) ?? []
  if (code === undefined) return new Error('the answer ends with an error that cannot be read')
  return Object.assign(new Error(message), { code, type })
}

function parseRow(line: string): unknown {
  return LONG_INTEGER.test(line) ? JSON.parse(line, exactInteger as Reviver) : JSON.parse(line)
}

type Reviver = (this: unknown, key: string, value: unknown) => unknown

/** JSON.parse gives a reviver the digits of a number as `source`. */
function exactInteger(_key: string, value: unknown, { source }: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || source === undefined) return value
  return /^-?\d+$/.test(source) ? BigInt(source) : value
}
