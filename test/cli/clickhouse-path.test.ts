/** ClickHouse below a path of its URL, as a proxy serves it: consumer, command and analytics reach it there. */
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connectAnalytics } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { expect, it, onTestFinished } from 'vitest'
import { accountOf, environmentOf, openEmbedded, openStore, runConsumer } from '../consumer/support.ts'
import { encodeRecord, makeRecord } from '../support/records.ts'

const PATH = '/r4nd0m/path'
const store = await openStore()

/** Passes on what comes below the path, and nothing else. @returns The URL with the path. */
async function openProxy(target: string): Promise<string> {
  const proxy = createServer((incoming, outgoing) => {
    const { url = '', method, headers } = incoming
    if (!url.startsWith(`${PATH}/`)) return void outgoing.writeHead(404).end('not here\n')
    const forward = request(`${target}${url.slice(PATH.length)}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(outgoing)
    })
    forward.on('error', () => outgoing.destroy())
    incoming.pipe(forward)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  onTestFinished(() => {
    proxy.close()
    proxy.closeAllConnections()
  })
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${PATH}`
}

it.each(['', '/'])('events are stored and read below a path that ends with "%s"', async (end) => {
  const url = `${await openProxy(store.dataDir.reader.url)}${end}`
  const log = await openEmbedded(store)
  const session = `session below ${url}`
  await log.append(0, [encodeRecord(makeRecord(`run of ${url}`, 0, { session_id: session }))])
  runConsumer({ ...environmentOf(store, log), CLICKHOUSE_URL: url })
  await expect.poll(() => accountOf(store, log), { timeout: 30_000 }).toEqual({ events: 1, skipped: {} })

  const { username, password, database } = store.dataDir.reader
  await using analytics = connectAnalytics({ url, username, password, database })
  const rows = await analytics.rows(
    'SELECT count() AS events FROM {database:Identifier}.audit_events WHERE session_id = {session:String}',
    { session },
  )
  expect(rows).toEqual([{ events: 1 }])

  let out = ''
  const env = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  const terminal = { out: (text: string) => (out += text), err: (text: string) => (out += text), env, colors: false }
  expect([await runCli(['trail', session, '--json'], terminal), out]).toEqual([0, expect.stringContaining(session)])
})
