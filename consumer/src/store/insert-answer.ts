/** Judges ClickHouse's answer to an insert: whether it left rows, certainly left none, or may have left some. */
import type { InsertAnswer } from '../pipeline/sink.ts'

/**
 * Error codes that blame the rows: the server could not read them out of the block, or they do not fit their columns. The
 * server throws them before it writes a part. Codes that blame the block's schema (8, 44, 53) are not among them: the table is
 * at fault there.
 */
const BAD_DATA = new Set([
  '6', // CANNOT_PARSE_TEXT
  '25', // CANNOT_PARSE_ESCAPE_SEQUENCE
  '26', // CANNOT_PARSE_QUOTED_STRING
  '27', // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  '32', // ATTEMPT_TO_READ_AFTER_EOF
  '33', // CANNOT_READ_ALL_DATA
  '38', // CANNOT_PARSE_DATE
  '41', // CANNOT_PARSE_DATETIME
  '69', // ARGUMENT_OUT_OF_BOUND
  '70', // CANNOT_CONVERT_TYPE
  '72', // CANNOT_PARSE_NUMBER
  '117', // INCORRECT_DATA
  '131', // TOO_LARGE_STRING_SIZE
  '349', // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
  '376', // CANNOT_PARSE_UUID
  '469', // VIOLATED_CONSTRAINT
])
/** Error codes that blame anything else, after which the server has left no rows: it never began to write. */
const REFUSED = new Set([
  '8', // THERE_IS_NO_COLUMN
  '16', // NO_SUCH_COLUMN_IN_TABLE
  '44', // ILLEGAL_COLUMN
  '53', // TYPE_MISMATCH
  '60', // UNKNOWN_TABLE
  '81', // UNKNOWN_DATABASE
  '115', // UNKNOWN_SETTING
  '164', // READONLY
  '192', // UNKNOWN_USER
  '193', // WRONG_PASSWORD
  '202', // TOO_MANY_SIMULTANEOUS_QUERIES
  '242', // TABLE_IS_READ_ONLY
  '243', // NOT_ENOUGH_SPACE
  '252', // TOO_MANY_PARTS
  '452', // SETTING_CONSTRAINT_VIOLATION
  '497', // ACCESS_DENIED
  '516', // AUTHENTICATION_FAILED
])

/** @param error - The client's error. It has a code if it comes from the server. */
export function judgeAnswer(error: { readonly code?: string; readonly message: string }): InsertAnswer {
  if (error.code === undefined) {
    // The server's Avro reader reports errors without a code, before any row is written.
    const bad = error.message.includes('type: avro::Exception')
    return { kind: bad ? 'bad-data' : 'unclear', reason: withoutContent(error.message) }
  }
  const reason = `code ${error.code}: ${withoutContent(error.message)}`
  // Refused for being late is unclear: a proxy may have sent the insert twice, and the first copy may have landed.
  if (error.code === '469' && /^Constraint `(deadline|fenced_since_start)`/.test(error.message)) {
    return { kind: 'unclear', reason }
  }
  if (BAD_DATA.has(error.code)) return { kind: 'bad-data', reason }
  return { kind: REFUSED.has(error.code) ? 'refused' : 'unclear', reason }
}

/** The server quotes the values that violate a constraint. They must not reach a log. */
function withoutContent(message: string): string {
  return message.replace(/\.? Column values: [^]*$/, '').slice(0, 300)
}
