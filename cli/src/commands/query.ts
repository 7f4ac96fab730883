/** `agent-audit query`: the catalogue of queries. */
import {
  type AnyQuery,
  CATALOGUE,
  findQuery,
  type PageOptions,
  queryFile,
  type QueryName,
  type QueryRows,
  runQuery,
  writeWhole,
} from '@agent-audit/analytics'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { collect, parseCount, parseTime } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { withKeys } from '../key-store.ts'
import { csvHead, csvLine, queryHelp, type QueryRow, rowJson, rowTable } from '../render/rows.ts'
import { painter } from '../render/text.ts'
import { Printer, type Terminal } from '../terminal.ts'

const FORMATS = ['table', 'json', 'csv', 'parquet'] as const
interface Options extends ConnectionOptions {
  readonly param?: readonly string[]
  readonly format: (typeof FORMATS)[number]
  readonly output?: string
  readonly page?: number
  readonly after?: string
  readonly list?: boolean
  readonly describe?: boolean
}

/** A table is for a person: it waits for all of its rows, and has no more of them than that reads. */
const TABLE_ROWS = 100

export function addQuery(program: Command, terminal: Terminal): void {
  const command = program
    .command('query')
    .description('run a query of the catalogue; `query --list` shows them, `query NAME --help` one with its parameters')
    .argument('[name]', 'name of the query')
    .option('-p, --param <name=value>', 'a parameter (repeatable); times as 24h, 7d or 2026-11-24T10:00:00Z', collect)
    .addOption(new Option('-f, --format <format>', 'format of the rows').choices(FORMATS).default('table'))
    .option('-o, --output <file>', 'write to this file, replaced once all rows are there (parquet: needed)')
    .option('--page <rows>', `most rows (default: ${TABLE_ROWS} of a table, else all)`, parseCount(1, 1_000_000))
    .option('--after <cursor>', 'go on behind a page, whose cursor has the parameters too')
    .option('--list', 'list the queries')
    .option('--describe', 'show the query, its parameters, columns and cost')
    .addHelpText('after', ({ command: { args } }) => helpOf(args[0]))
  withKeys(connectable(command)).action(async (name: string | undefined, options: Options) => {
    if (options.list === true) return terminal.out(list())
    if (name === undefined) throw wrong('name: which query? `agent-audit query --list` lists them')
    const query = findQuery(name)
    if (options.describe === true) return terminal.out(queryHelp(query))
    const params = readParams(query, options.param ?? [])
    await withTrail(options, terminal, async (analytics) => {
      if (options.format === 'parquet')
        return writeParquet({ query, options, terminal }, () =>
          queryFile(analytics, name as QueryName, params as never),
        )
      const rows: unknown = runQuery(analytics, name as QueryName, params as never, pageOf(options))
      await writeRows({ query, options, terminal }, rows as QueryRows<QueryRow>)
    })
  })
}

interface Work {
  readonly query: AnyQuery
  readonly options: Options
  readonly terminal: Terminal
}

function list(): string {
  const queries = Object.values(CATALOGUE) as readonly AnyQuery[]
  const width = Math.max(...queries.map(({ name }) => name.length))
  return queries.map(({ name, answers }) => `${name.padEnd(width)}  ${answers}\n`).join('')
}

function helpOf(name: string | undefined): string {
  return name !== undefined && Object.hasOwn(CATALOGUE, name) ? `\n${queryHelp(findQuery(name))}` : ''
}

function wrong(message: string): InvalidInputError {
  return new InvalidInputError('OPTIONS_INVALID', message)
}

/** `name=value` to values of the query's kinds. The query itself checks the names and the values. */
function readParams(query: AnyQuery, given: readonly string[]): Record<string, unknown> {
  const params: Record<string, unknown> = {}
  for (const text of given) {
    const split = text.indexOf('=')
    if (split < 1) throw wrong('--param: expected name=value')
    const name = text.slice(0, split)
    if (Object.hasOwn(params, name)) throw wrong(`--param: ${name} is given twice`)
    const value = text.slice(split + 1)
    const isTime = Object.hasOwn(query.params, name) && query.params[name]?.kind === 'time'
    Object.defineProperty(params, name, { value: isTime ? timeOf(name, value) : value, enumerable: true })
  }
  return params
}

function timeOf(name: string, value: string): Date {
  try {
    return parseTime(value)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw wrong(`--param: ${name}: ${error.message}`)
  }
}

function pageOf({ page, after, format }: Options): PageOptions {
  return { after, page: page ?? (format === 'table' ? TABLE_ROWS : undefined) }
}

/** The text of the rows in each format. */
const TEXTS: Readonly<
  Record<Exclude<Options['format'], 'parquet'>, (work: Work, rows: Rows) => AsyncIterable<string>>
> = {
  table: tableOf,
  json: jsonOf,
  csv: csvOf,
}
type Rows = AsyncIterable<QueryRow>

async function writeRows(work: Work, rows: QueryRows<QueryRow>): Promise<void> {
  const { options, terminal } = work
  const format = options.format === 'parquet' ? 'csv' : options.format
  let count = 0
  async function* counted(): Rows {
    for await (const row of rows) {
      count += 1
      yield row
    }
  }
  await writeText(TEXTS[format](work, counted()), options.output, terminal)
  if (count === 0) terminal.err(nothing(work, rows.params))
  if (rows.next !== undefined) terminal.err(`agent-audit: there are more rows; go on with --after ${rows.next}\n`)
}

/** To the terminal, or to a file that appears under its name once it is whole. */
async function writeText(text: AsyncIterable<string>, file: string | undefined, terminal: Terminal): Promise<void> {
  if (file !== undefined) return void (await writeWhole(file, { content: inBlocks(text) }))
  const printer = new Printer(terminal)
  for await (const each of text) await printer.print(each)
  await printer.flush()
}

const BLOCK_CHARACTERS = 65_536

async function* inBlocks(text: AsyncIterable<string>): AsyncIterable<Buffer> {
  let block = ''
  for await (const each of text) {
    block += each
    if (block.length < BLOCK_CHARACTERS) continue
    yield Buffer.from(block)
    block = ''
  }
  yield Buffer.from(block)
}

async function* tableOf({ query, terminal, options }: Work, rows: Rows): AsyncIterable<string> {
  const all: QueryRow[] = []
  for await (const row of rows) all.push(row)
  if (all.length > 0) yield rowTable(query, all, painter(terminal.colors && options.output === undefined))
}

async function* jsonOf(_: Work, rows: Rows): AsyncIterable<string> {
  let before = '['
  for await (const row of rows) {
    yield `${before}${rowJson(row)}`
    before = ',\n'
  }
  yield before === '[' ? '[]\n' : ']\n'
}

async function* csvOf({ query }: Work, rows: Rows): AsyncIterable<string> {
  yield csvHead(query)
  for await (const row of rows) yield csvLine(query, row)
}

async function writeParquet(work: Work, read: () => Promise<AsyncIterable<Buffer> | undefined>): Promise<void> {
  const { output: file, page, after } = work.options
  if (file === undefined) throw wrong('--format parquet: needs --output FILE, it is no text for a terminal')
  if (page !== undefined || after !== undefined) throw wrong('--format parquet: has all rows: no --page and no --after')
  const bytes = await read()
  if (bytes === undefined) return work.terminal.err(nothing(work, {}))
  await writeWhole(file, { content: wholeParquet(bytes) })
}

/** @throws AuditUnavailableError `STORE_UNAVAILABLE` if the bytes end before the file does. */
async function* wholeParquet(bytes: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  let end: Buffer = Buffer.alloc(0)
  for await (const chunk of bytes) {
    end = Buffer.concat([end, chunk.subarray(-4)]).subarray(-4)
    yield chunk
  }
  if (end.toString('latin1') !== 'PAR1')
    throw new AuditUnavailableError('STORE_UNAVAILABLE', 'the server broke off before the end of the file')
}

function nothing({ query, options }: Work, { since, until }: Readonly<Record<string, unknown>>): string {
  const range =
    since instanceof Date && until instanceof Date ? ` from ${since.toISOString()} to ${until.toISOString()}` : ''
  const file = options.format === 'parquet' ? ', no file was written' : ''
  return `agent-audit: ${query.name}: nothing found${range}${file}\n`
}
