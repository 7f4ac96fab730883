/** The reader of answers, at every way in which the network may cut one: a server in the test sends the chunks. */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connectAnalytics } from '@agent-audit/analytics'
import { expect, it, onTestFinished } from 'vitest'

const ERROR = `Code: 241. DB::Exception: (total) memory limit exceeded: would use 9 GiB. (MEMORY_LIMIT_EXCEEDED) (version 26.7.2.1)\n`
const TAGGED = `\r\n__exception__\r\nabcdefghijklmnop\r\n${ERROR}${ERROR.length} abcdefghijklmnop\r\n__exception__\r\n`
const ROWS = '{"a":1,"text":"é\\n🙂"}\n{"a":2,"text":""}\n'

/** The rows of an answer that comes in these chunks, and the code of its error. */
async function read(
  chunks: readonly Buffer[],
  end: (response: ServerResponse) => void = (r) => r.end(),
): Promise<unknown> {
  const server: Server = createServer((request, response) => {
    request.resume().on('end', () => {
      if (settingsAsked) return void sendAll(response, chunks).then(() => end(response))
      settingsAsked = true
      return response.end('{"readonly":"1"}\n')
    })
  })
  let settingsAsked = false
  onTestFinished(() => void server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await using analytics = connectAnalytics({ url, username: 'u', password: '' })
  const rows: unknown[] = []
  try {
    for await (const row of analytics.query('SELECT 1', { schema: { parse: (each) => each } })) rows.push(row)
    return { rows }
  } catch (error) {
    return { rows, code: (error as { code: string }).code }
  }
}

async function sendAll(response: ServerResponse, chunks: readonly Buffer[]): Promise<void> {
  response.writeHead(200, { 'X-ClickHouse-Exception-Tag': 'abcdefghijklmnop' })
  for (const chunk of chunks) {
    response.write(chunk)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const PARSED = [
  { a: 1, text: 'é\n🙂' },
  { a: 2, text: '' },
]

it('joins rows and characters that lie across chunks', async () => {
  const bytes = Buffer.from(ROWS)
  const single = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1))
  expect(await read(single)).toEqual({ rows: PARSED })
})

it.each([1, 3, 17, 18, 40, 90, 150, 1000])('finds an error that is cut after %i bytes', async (at) => {
  const bytes = Buffer.from(TAGGED)
  const chunks = [Buffer.from(ROWS), bytes.subarray(0, at), bytes.subarray(at)].filter(({ length }) => length > 0)
  expect(await read(chunks)).toEqual({ rows: PARSED, code: 'STORE_LIMIT' })
  // As the server does it: the connection ends, the body does not.
  expect(await read(chunks, (response) => response.socket?.end())).toEqual({ rows: PARSED, code: 'STORE_LIMIT' })
})

it('finds an error without tags, as older servers write it', async () => {
  expect(await read([Buffer.from(`${ROWS}${ERROR}`)])).toEqual({ rows: PARSED, code: 'STORE_LIMIT' })
})

it('takes no cut answer for a whole one', async () => {
  const cut = [Buffer.from(`${ROWS}{"a":3,"te`)]
  expect(await read(cut)).toEqual({ rows: PARSED, code: 'STORE_UNAVAILABLE' })
  expect(await read([Buffer.from(ROWS)], (response) => response.socket?.end())).toEqual({
    rows: PARSED,
    code: 'STORE_UNAVAILABLE',
  })
})
