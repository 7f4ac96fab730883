/** `agent-audit setup` as a process of its own, behind a proxy that shows each of its statements before ClickHouse gets it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Server } from '../analytics/seed.ts'

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

/**
 * Decides about a statement that changes something; reads pass.
 * @param statement - With its parameters.
 * @param send - Sends it to ClickHouse, which has carried it out when the answer is there.
 * @returns The answer for `setup`; undefined: none, ever.
 */
export type StatementRule = (statement: string, send: () => Promise<Answer>) => Promise<Answer | undefined>

export interface SetupProcess {
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
  /** Standard output and error. */
  readonly output: string
  kill(): Promise<unknown>
}

const MAIN = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))
const SETTINGS = /^(AUDIT|CLICKHOUSE|KAFKA)_/
const pass: StatementRule = (_, send) => send()

/** Starts `agent-audit setup` for the database of `server`; the test's end kills it if it still runs. */
export async function startSetup(
  server: Server,
  { args = [], rule = pass }: { readonly args?: readonly string[]; readonly rule?: StatementRule } = {},
): Promise<SetupProcess> {
  const url = await openProxy(server.url, rule)
  const inherited = Object.entries(process.env).filter(([name]) => !SETTINGS.test(name))
  const child = spawn(process.execPath, ['--conditions=agent-audit-source', MAIN, 'setup', ...args], {
    env: {
      ...Object.fromEntries(inherited),
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: server.username,
      CLICKHOUSE_PASSWORD: server.password,
      CLICKHOUSE_DATABASE: server.database,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += String(text)))
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals)
  const kill = (): Promise<unknown> => {
    child.kill('SIGKILL')
    return ended
  }
  onTestFinished(async () => void (await kill()))
  return {
    ended,
    kill,
    get output() {
      return output
    },
  }
}

async function openProxy(target: string, rule: StatementRule): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    void (async () => {
      const body = await buffer(incoming)
      const send = (): Promise<Answer> => passOn(target, incoming, body)
      const { searchParams } = new URL(incoming.url ?? '/', target)
      const parameters = [...searchParams].filter(([name]) => name.startsWith('param_'))
      const statement = [String(body), ...parameters].join('\n')
      const answer = await (/^\s*SELECT/.test(statement) ? send() : rule(statement, send))
      if (answer !== undefined) outgoing.writeHead(answer.status, answer.headers).end(answer.body)
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function passOn(target: string, { method, url, headers }: IncomingMessage, body: Buffer): Promise<Answer> {
  const onward = request(new URL(url ?? '/', target), { method, headers: { ...headers, host: new URL(target).host } })
  onward.end(body)
  const [answer] = (await once(onward, 'response')) as [IncomingMessage]
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await buffer(answer) }
}
