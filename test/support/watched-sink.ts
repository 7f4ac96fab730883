/** The consumer's sink on a real ClickHouse, with its queries noted on their way. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { readSettings } from '@agent-audit/consumer'
import { composeParts, type Sink } from '@agent-audit/consumer/pipeline'
import { onTestFinished } from 'vitest'
import { environmentOf, openEmbedded, type Store } from '../consumer/support.ts'

export interface Query {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface WatchedSink {
  readonly sink: Sink
  readonly queries: Query[]
}

/** @param silent - Such a query gets no answer. */
export async function openWatchedSink(
  store: Store,
  settings: Record<string, string> = {},
  silent: (query: Query) => boolean = () => false,
): Promise<WatchedSink> {
  const queries: Query[] = []
  const server = createServer((request, response) => {
    void (async () => {
      const query = { path: request.url ?? '', headers: request.headers, body: await text(request) }
      queries.push(query)
      if (!silent(query)) response.end(await send(store, query))
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const environment = environmentOf(store, await openEmbedded(store))
  const { sink } = composeParts(readSettings({ ...environment, CLICKHOUSE_URL: url, ...settings }))
  onTestFinished(async () => {
    await sink.close()
    server.closeAllConnections()
    server.close()
  })
  return { sink, queries }
}

async function send({ dataDir }: Store, { path, headers, body }: Query): Promise<string> {
  const { authorization = '' } = headers
  const response = await fetch(new URL(path, dataDir.writer.url), { method: 'POST', headers: { authorization }, body })
  if (!response.ok) throw new Error(await response.text())
  return response.text()
}

/** Rows that ClickHouse reads for a query: only its format JSON says so. */
export async function rowsRead(store: Store, query: Query): Promise<number> {
  const body = query.body.replace('FORMAT JSONEachRow', 'FORMAT JSON')
  const answer = JSON.parse(await send(store, { ...query, body })) as { statistics: { rows_read: number } }
  return answer.statistics.rows_read
}
