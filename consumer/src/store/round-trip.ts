/** Sends rows to ClickHouse as a temporary table of one query, and reads them back: no table keeps them. */
import { randomBytes } from 'node:crypto'
import { BLOCK_COLUMNS, closeBlock, type EncodedRows } from '../pipeline/block.ts'
import type { Table } from '../pipeline/sink.ts'

/** A column as `DESCRIBE TABLE` tells it. */
export interface DescribedColumn {
  readonly name: string
  readonly type: string
}

/** A POST of some bytes with a query, settings and a content type. @returns the whole answer */
export interface Request {
  readonly query: string
  readonly contentType: string
  readonly body: readonly Buffer[]
  readonly settings: Readonly<Record<string, string>>
}

const NAME = 'canary'

/** The request whose answer is the rows that were sent, out of columns of the table's types. */
export function roundTripRequest(table: Table, columns: readonly DescribedColumn[], rows: EncodedRows): Request {
  const types = new Map(columns.map(({ name, type }) => [name, type]))
  const names = BLOCK_COLUMNS[table]
  const structure = names.map((name) => `${name} ${types.get(name)}`).join(', ')
  const boundary = randomBytes(16).toString('hex')
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="${NAME}"; filename="${NAME}"\r\n\r\n`
  return {
    query: `SELECT ${names.join(', ')} FROM ${NAME} FORMAT Avro`,
    contentType: `multipart/form-data; boundary=${boundary}`,
    body: [Buffer.from(head), ...closeBlock(table, [rows]), Buffer.from(`\r\n--${boundary}--\r\n`)],
    settings: { [`${NAME}_format`]: 'Avro', [`${NAME}_structure`]: structure, output_format_avro_codec: 'null' },
  }
}
