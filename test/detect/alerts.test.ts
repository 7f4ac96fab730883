/** Alerts to real receivers: an HTTP server and Kafka. */
import { createHmac, randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Analytics } from '@agent-audit/analytics'
import {
  Alerts,
  Engine,
  type Finding,
  slackTarget,
  type SessionDetector,
  topicTarget,
  webhookTarget,
} from '@agent-audit/detect'
import { kafkaAvailability } from '@agent-audit/stack'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { connectKafka, makeTopic, readWholeTopic } from '../support/kafka-topic.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { finding, judgeOn, seed, SIZE } from './support.ts'

const SECRET = `whsec_${randomBytes(32).toString('base64')}`
const kafka = kafkaAvailability()
const NO_KAFKA = kafka.available ? undefined : kafka.reason

interface Got {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

interface Receiver {
  readonly url: string
  readonly got: Got[]
  /** Status of each answer from now on. */
  status: number
  close(): Promise<void>
}

async function receiver(port = 0): Promise<Receiver> {
  const got: Got[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (data: Buffer) => (body += data.toString()))
    request.on('end', () => {
      got.push({ headers: request.headers, body })
      response.writeHead(made.status, { location: '/elsewhere' }).end()
    })
  })
  await new Promise<void>((resolve) => void server.listen(port, '127.0.0.1', resolve))
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  onTestFinished(close)
  const made: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    got,
    status: 204,
    close,
  }
  return made
}

/** A detector with one finding for each session. */
function each(more: Partial<Finding>): SessionDetector {
  return {
    ...SIZE,
    name: 'test.each',
    candidates: 'true',
    find: ({ session_id, agent_id }) => [
      finding({ cause: session_id, severity: 'high', agent_id, session_id, ...more }),
    ],
  }
}

async function find(trail: Analytics, more: Partial<Finding> = {}): Promise<void> {
  await judgeOn(new Engine(trail, { detectors: [each(more)] }))
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`alerts ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('reach a webhook once, signed as Standard Webhooks says, with the id of the finding', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a' })
    await find(trail)
    const hook = await receiver()
    for (const worker of [1, 2]) {
      await using alerts = new Alerts(trail, [webhookTarget(hook.url, SECRET)])
      expect(await alerts.deliver()).toEqual({ delivered: worker === 1 ? 1 : 0, waiting: 0 })
    }
    const [only] = hook.got
    expect(hook.got).toHaveLength(1)
    const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = only?.headers ?? {}
    const body = JSON.parse(only?.body ?? '') as { type: string; data: { finding_id: string; cause: string } }
    expect(body).toMatchObject({ type: 'finding.found', data: { finding_id: id, cause: 'a', severity: 'high' } })
    const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64')
    const signed = createHmac('sha256', key)
      .update(`${String(id)}.${String(at)}.${only?.body ?? ''}`)
      .digest('base64')
    expect(signature).toBe(`v1,${signed}`)
    expect(Math.abs(Date.now() / 1000 - Number(at))).toBeLessThan(60)
  })

  it('are sent again, with the same id, when the worker is killed before the store knows', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a' })
    await find(trail)
    const hook = await receiver()
    const dying: Analytics = { ...trail, command: () => Promise.reject(new Error('killed')) }
    await expect(new Alerts(dying, [webhookTarget(hook.url, SECRET)]).deliver()).rejects.toThrow('killed')
    await new Alerts(trail, [webhookTarget(hook.url, SECRET)]).deliver()
    expect(new Set(hook.got.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(hook.got).toHaveLength(2)
  })

  it('wait for a target that is away, and hold up no other', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a' })
    await seed(trail.server, [1], { session_id: 'b' })
    await find(trail)
    const [away, here] = [await receiver(), await receiver()]
    await away.close()
    const problems: string[] = []
    const targets = [webhookTarget(away.url, SECRET), webhookTarget(here.url, SECRET)]
    await using alerts = new Alerts(trail, targets, {
      onProblem: (target, reason) => problems.push(`${target}: ${reason}`),
    })
    expect(await alerts.deliver()).toEqual({ delivered: 2, waiting: 2 })
    expect(problems[0]).toMatch(/^webhook 127\.0\.0\.1:\d+ [0-9a-f]{12}: fetch failed \(ECONNREFUSED\)$/)
    const back = await receiver(Number(new URL(away.url).port))
    await expect.poll(async () => (await alerts.deliver()).waiting, { interval: 200 }).toBe(0)
    expect([back.got.length, here.got.length]).toEqual([2, 2])
  })

  it('reach a target that was away, all of them, the oldest first, and none again after a restart', async () => {
    const trail = await tests.newTrail()
    // More than a page, the first of them found three days ago; the last alert that the target took is as old.
    const count = 230
    await trail.command(
      `INSERT INTO {database:Identifier}.audit_findings (finding_id, detector, version, cause, severity, score, agent_id,
         summary, signals, evidence, thresholds, run, found_at)
       SELECT toUUID(concat('00000000-0000-8000-8000-', leftPad(lower(hex(cityHash64(number) % 0xffffff)), 8, '0'),
           leftPad(lower(hex(number)), 4, '0'))),
         'test.each', 1, toString(number), 'high', 1, 'support', 'found', '[]', [], '{}', generateUUIDv4(0),
         now64(6) - INTERVAL 3 DAY + INTERVAL intDiv(number, 3) SECOND
       FROM numbers({count:UInt32})`,
      { count },
    )
    const hook = await receiver()
    const target = webhookTarget(hook.url, SECRET)
    await trail.command(
      `INSERT INTO {database:Identifier}.audit_alerts (finding_id, target, attempts)
       SELECT finding_id, {target:String}, 1 FROM {database:Identifier}.audit_findings WHERE cause = '0'`,
      { target: target.name },
    )
    await hook.close()
    await using away = new Alerts(trail, [target])
    expect(await away.deliver()).toEqual({ delivered: 0, waiting: count - 1 })
    expect(await away.deliver()).toEqual({ delivered: 0, waiting: count - 1 })
    const back = await receiver(Number(new URL(hook.url).port))
    const stop = new AbortController()
    const dying: Analytics = {
      ...trail,
      command: async (statement, parameters) => {
        await trail.command(statement, parameters)
        if (back.got.length === 90) stop.abort()
      },
    }
    expect(await new Alerts(dying, [target]).deliver(stop.signal)).toEqual({ delivered: 90, waiting: count - 91 })
    expect(await new Alerts(trail, [target]).deliver()).toEqual({ delivered: count - 91, waiting: 0 })
    expect(await new Alerts(trail, [target]).deliver()).toEqual({ delivered: 0, waiting: 0 })
    const got = back.got.map(({ body }) => (JSON.parse(body) as { data: { cause: string; found_at: string } }).data)
    expect(new Set(got.map(({ cause }) => cause)).size).toBe(count - 1)
    expect(got).toHaveLength(count - 1)
    expect(got.map(({ found_at }) => found_at)).toEqual(got.map(({ found_at }) => found_at).toSorted())
  })

  it.each([500, 404, 302])('count as not taken when the answer is %i, which is not followed', async (status) => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a' })
    await find(trail)
    const hook = await receiver()
    hook.status = status
    await using alerts = new Alerts(trail, [webhookTarget(hook.url, SECRET)])
    expect(await alerts.deliver()).toEqual({ delivered: 0, waiting: 1 })
    expect(hook.got).toHaveLength(1)
    hook.status = 200
    await expect.poll(async () => (await alerts.deliver()).delivered, { interval: 200 }).toBe(1)
  })

  it('to Slack mention no person, link nothing, and stand on two lines, whatever was recorded', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a', agent_id: '<@U123>' })
    await find(trail, {
      summary:
        'see <!channel>\n<http://evil.test|the report> & https://evil.test \u001B[2J @here [the report](evil.test) WWW.evil.test',
    })
    const hook = await receiver()
    await new Alerts(trail, [slackTarget(`${hook.url}?token=x`)]).deliver()
    const { text } = JSON.parse(hook.got[0]?.body ?? '') as { text: string }
    expect(text.split('\n')).toHaveLength(2)
    expect(text).not.toMatch(/[<>]|:\/\/|@(?!\u2060)|\]\(|www\.(?!\u2060)|\p{Cc}(?<!\n)/iu)
    expect(text).toContain('HIGH test.each: see &lt;!channel&gt; &lt;http:')
  })

  it('leave out findings that are milder than asked for, and the URL that is a secret', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a' })
    await find(trail, { severity: 'medium' })
    const hook = await receiver()
    const target = slackTarget(`${hook.url}/secret`)
    expect(await new Alerts(trail, [target]).deliver()).toEqual({ delivered: 0, waiting: 0 })
    expect(await new Alerts(trail, [target], { severity: 'medium' }).deliver()).toMatchObject({ delivered: 1 })
    expect(target.name).not.toContain('secret')
  })

  it.each([
    ['ftp://host/x', SECRET, /the webhook: expected a URL/],
    ['http://u:p@host/x', SECRET, /without user and password/],
    ['http://host/x', 'short', /whsec_ and base64 of 24 to 64 bytes/],
  ])('refuse %s', (url, secret, message) => {
    expect(() => webhookTarget(url, secret)).toThrow(message)
  })

  it.skipIf(NO_KAFKA !== undefined)(`reach a topic of Kafka, keyed by the finding ${NO_KAFKA ?? ''}`, async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a' })
    await seed(trail.server, [1], { session_id: 'b' })
    await find(trail)
    const { brokers } = await sharedKafka()
    const client = connectKafka(brokers)
    const topic = await makeTopic(client, { numPartitions: 3 })
    await using alerts = new Alerts(trail, [
      topicTarget(topic, { brokers, ssl: false, sasl: undefined, clientId: 'test' }),
    ])
    expect(await alerts.deliver()).toEqual({ delivered: 2, waiting: 0 })
    const messages = await readWholeTopic(client, topic)
    const bodies = messages.map(({ key, value }) => ({
      key,
      ...(JSON.parse(value.toString()) as { data: { cause: string; finding_id: string } }),
    }))
    expect(bodies.map(({ data }) => data.cause).toSorted()).toEqual(['a', 'b'])
    expect(bodies.every(({ key, data }) => key === data.finding_id)).toBe(true)
  })
})
