/** The examples behave as they describe: on the real producer, and the payment from process to process into the real table. */
import { execFile } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connectAnalytics, sessionTrail } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import * as producer from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import { clickHouseAvailability } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { FLEET, runFleet, type Task } from '../../examples/fleet.ts'
import { answer } from '../../examples/loop.ts'
import { callModel, type Message, sentMails } from '../../examples/yours.ts'
import { environmentOf, openEmbedded, openStore, type Store } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { openTrail, sessionRows } from '../producer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const CALL: Message = {
  role: 'assistant',
  content: [{ type: 'tool_use', id: 'c1', name: 'find_order', input: { number: 7 } }],
}
const RESULT: Message = {
  role: 'user',
  content: [{ type: 'tool_result', tool_use_id: 'c1', content: 'on its way' }],
}

it('loop.ts records each answer of the model and each tool call', async () => {
  const trail = createTestTrail()
  expect(await answer(trail, 'Where is order 7?')).toBe('It is on its way.')
  expect(trail.outline()).toEqual([
    'session_start',
    'llm_call',
    'tool_call find_order allowed',
    'tool_result find_order success',
    'llm_call',
    'session_end success',
  ])
  expect(trail.problems()).toEqual([])
  // The assistant's message, then the result of its call: a real API requires both, and the session had recorded neither.
  const [, second] = trail.events({ event_type: 'llm_call' })
  expect(second?.['input_messages']).toEqual([CALL, RESULT])
})

it.each<[string, Message[]]>([
  ['a result without its call', [RESULT]],
  ['a call without its result', [CALL, { role: 'user', content: 'And?' }]],
])('the model of the examples refuses %s, as a real API does', async (_, messages) => {
  await expect(callModel([{ role: 'user', content: 'Where is order 7?' }, ...messages])).rejects.toThrow(/^400 .* c1$/)
})

it('serverless.ts waits until all events are acknowledged before it answers', async () => {
  const trail = createTestTrail()
  const createAuditTrail = vi.fn<typeof producer.createAuditTrail>().mockReturnValue(trail)
  vi.doMock('@agent-audit/producer', () => ({ ...producer, createAuditTrail }))
  onTestFinished(() => vi.doUnmock('@agent-audit/producer'))
  const { handler } = await import('../../examples/serverless.ts')
  expect(createAuditTrail).toHaveBeenCalledWith({ agentId: 'faq', durability: 'broker', handleExit: false })
  expect(await handler({ text: 'Where is order 7?' })).toBe('It is on its way.')
  expect(trail.stats()).toMatchObject({ recorded: 7, acked: 7, pending: 0 })
  expect(trail.outline().at(-1)).toBe('session_end success')
})

describe('fleet.ts', () => {
  it('takes no new work while the spool is full, and does and records all the work that it took', async () => {
    const directory = makeTempDirectory()
    const dataDir = join(directory, 'log')
    writeFileSync(dataDir, '') // A file at the path of the log's directory: there is no log yet.
    const paths = { dataDir, spoolDir: join(directory, 'spool'), spoolMaxBytes: 2 ** 20, guardTimeoutMs: 60_000 }
    const trail = openTrail({ ...FLEET, ...paths, onProblem: () => {} })
    const source = { taken: 0, ended: false }
    let last = -1
    async function* tasks(): AsyncGenerator<Task> {
      while (!source.ended && source.taken < 10_000) {
        await nextTurn()
        const id = `task-${++source.taken}`
        yield { id, url: `https://shop.example/${id}`, to: 'ann' }
      }
    }
    const failed = runFleet(trail, tasks())
    const atRest = (): boolean => {
      const before = last
      last = source.taken
      return last === before && trail.stats().spoolBytes > 0.75 * 2 ** 20
    }
    await expect.poll(atRest, { timeout: 20_000 }).toBe(true)
    expect(source.taken).toBeLessThan(10_000)
    source.ended = true
    rmSync(dataDir)
    expect(await failed).toBe(0)
    expect(await trail.close()).toMatchObject({ pending: 0, refused: 0 })
    const ends = sessionRows(dataDir).filter(({ event_type }) => event_type === 'session_end')
    expect(new Set(ends.map(({ session_id }) => session_id)).size).toBe(source.taken)
  })

  it('reads a page whose call is not recorded, and sends no mail whose call is not recorded', async () => {
    const trail = createTestTrail(FLEET)
    expect(await runFleet(trail, [{ id: 'recorded', url: 'https://shop.example/1', to: 'ann' }])).toBe(0)
    trail.fail('full')
    expect(await runFleet(trail, [{ id: 'not-recorded', url: 'https://shop.example/2', to: 'bob' }])).toBe(1)
    expect(sentMails).toContain('ann')
    expect(sentMails).not.toContain('bob')
  })
})

const PAYMENT = fileURLToPath(new URL('../../examples/payment.ts', import.meta.url))

/** Runs a command of payment.ts in a separate process. */
async function payment(dataDir: string, ...args: string[]): Promise<string> {
  const command = ['--conditions=agent-audit-source', PAYMENT, ...args]
  const env = { ...process.env, KAFKA_BROKERS: '', AUDIT_DATA_DIR: dataDir }
  const { stdout } = await promisify(execFile)(process.execPath, command, { env })
  return stdout.trimEnd()
}

const clickHouse = clickHouseAvailability()
const missing = clickHouse.available ? undefined : clickHouse.reason
const store: Store | undefined = clickHouse.available ? await openStore() : undefined

describe.skipIf(missing !== undefined)(`on a real ClickHouse ${missing ?? ''}`, () => {
  it('payment.ts requests, approves and pays in four processes, and the table has all events', async () => {
    if (store === undefined) return
    const log = await openEmbedded(store)
    const dataDir = log.environment['AUDIT_DATA_DIR'] ?? ''
    startConsumerProcess(environmentOf(store, log))
    const files = makeTempDirectory()
    const [request, decision] = [join(files, 'request.json'), join(files, 'decision.json')]
    const session = /^asked in session (.+)$/.exec(await payment(dataDir, 'ask', '1200', request))?.[1] ?? ''
    expect(await payment(dataDir, 'review', 'kim', request, decision)).toBe('approved {"eur":1200,"to":"DE02"}')
    const altered = await payment(dataDir, 'pay', '12000', request, decision)
    expect(await payment(dataDir, 'pay', '1200', request, decision)).toBe('paid 1200 EUR to DE02')

    await using analytics = connectAnalytics(store.dataDir.reader)
    await expect.poll(async () => (await sessionTrail(analytics, session)).length, { timeout: 30_000 }).toBe(9)
    const events = await sessionTrail(analytics, session)
    const line = events.map((event) =>
      [event.event_type, event.approval_status, event.outcome].filter(Boolean).join(' '),
    )
    expect(line).toEqual([
      'session_start',
      'approval_request pending',
      'approval_decision approved',
      'session_resumed',
      'tool_call approved denied',
      'session_resumed',
      'tool_call approved allowed',
      'tool_result success',
      'session_end success',
    ])
    const [, asked, decided, , denied, , paid] = events
    expect(altered).toBe(`APPROVAL_ALTERED, on record as ${denied?.event_id}`)
    expect(new Set([asked, decided, denied, paid].map((event) => event?.approval_id)).size).toBe(1)
    expect([asked, decided, paid].map((event) => event?.arguments_sha256)).toEqual(
      Array.from({ length: 3 }, () => asked?.arguments_sha256),
    )
    expect(denied?.arguments_sha256).not.toBe(asked?.arguments_sha256)
    expect([decided, denied, paid].map((event) => event?.approver_id)).toEqual(['kim', 'kim', 'kim'])
    const text = await shown(session)
    expect(text).toMatch(
      /approval_request +send_payment pending +above 1000 EUR \| \{"eur":1200,"to":"DE02"\} \| until 2/,
    )
    expect(text).toMatch(/approval_decision +send_payment approved +by kim \(os-user:\S+@\S+\)\n/)
    expect(text).toMatch(
      /tool_call +send_payment denied +approval_invalid \| the approval is for other arguments \| approved by kim \(os-user:\S+\) \| \{"eur":12000/,
    )
    expect(text).toMatch(/tool_call +send_payment allowed +approved by kim \(os-user:\S+\) \| \{"eur":1200,/)
  })
})

async function shown(session: string): Promise<string> {
  const { url, username, password } = store?.dataDir.reader ?? { url: '', username: '', password: '' }
  const env = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  let out = ''
  await runCli(['trail', session], { out: (text) => (out += text), err: (text) => (out += text), env, colors: false })
  return out
}
