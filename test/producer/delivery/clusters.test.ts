/** Events and clusters: none goes to another cluster than the one it was recorded for, unless the caller says so. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { type AuditTrailOptions, spoolStatus, type TrailError } from '@agent-audit/producer'
import { lastKnownTopic, openEmbeddedLog } from '@agent-audit/spool'
import type { KafkaCluster } from '@agent-audit/stack'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BrokerSwitch, openBrokerSwitch } from '../../support/broker-switch.ts'
import { whyNoOwnKafka } from '../../support/kafka-proxy.ts'
import { connectKafka, makeTopic, readWholeTopic, withAdmin } from '../../support/kafka-topic.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { NO_BROKER, openTrail, readRows, rememberEmbeddedLog, rowsOf } from '../support.ts'

const TOPIC = 'audit.events'

function idOf(dataDir: string): string {
  const log = openEmbeddedLog({ directory: dataDir })
  log.close()
  return log.id
}

/** Leaves the spool of a run that has last seen the embedded log of `dataDir`, and never reached it. @returns its run_id. */
async function leaveRun(spoolDir: string, dataDir: string): Promise<string> {
  rememberEmbeddedLog(spoolDir, dataDir)
  const trail = openTrail({ ...NO_BROKER, spoolDir })
  await trail.startSession().decision({ reasoning: 'left' }).stored
  await trail.close({ timeoutMs: 0 })
  return trail.runId
}

function runsIn(dataDir: string): Set<unknown> {
  return new Set(readRows(dataDir).map((row) => row['run_id']))
}

async function drain(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' }
  const out = (text: string): void => void (said.out += text)
  const err = (text: string): void => void (said.err += text)
  const code = await runCli(['spool', 'drain', ...args], { out, err, env: {}, colors: false })
  return { code, ...said }
}

describe('the spool of a dead run', () => {
  it('stays where it is when the trail reaches another cluster, is named once, and is sent to its own', async () => {
    const [spoolDir, one, two] = [makeTempDirectory(), makeTempDirectory(), makeTempDirectory()]
    const dead = [await leaveRun(spoolDir, one), await leaveRun(spoolDir, one)]
    const problems: TrailError[] = []
    const trail = openTrail({ dataDir: two, spoolDir, onProblem: (problem) => problems.push(problem) })
    const session = trail.startSession()
    for (let index = 0; index < 20; index++) await session.decision({ reasoning: `${index}` }).acked
    expect(runsIn(two)).toEqual(new Set([trail.runId]))
    expect(problems).toMatchObject([{ code: 'CLUSTER_CHANGED', retryable: false }])
    for (const part of [idOf(one), idOf(two), `agent-audit spool drain ${spoolDir} --to-any`, '2 spools']) {
      expect(problems[0]?.message).toContain(part)
    }
    const left = { state: 'waiting', cluster: idOf(one) }
    expect(spoolStatus(spoolDir).filter(({ state }) => state === 'waiting')).toMatchObject([left, left])
    // While the other trail lives.
    const next = openTrail({ dataDir: one, spoolDir })
    await expect.poll(() => next.stats().adopted).toBe(8)
    await next.startSession().decision({ reasoning: 'own' }).acked
    expect(runsIn(one)).toEqual(new Set([...dead, next.runId]))
  })

  it('goes to another cluster with toAnyCluster, which is said', async () => {
    const [spoolDir, one, two] = [makeTempDirectory(), makeTempDirectory(), makeTempDirectory()]
    const dead = await leaveRun(spoolDir, one)
    const problems: TrailError[] = []
    const options = { dataDir: two, spoolDir, toAnyCluster: true }
    const trail = openTrail({ ...options, onProblem: (problem) => problems.push(problem) })
    await expect.poll(() => trail.stats().adopted).toBe(4)
    expect(runsIn(two)).toContain(dead)
    expect(problems).toMatchObject([{ code: 'CLUSTER_CHANGED', message: expect.stringContaining('sending 1 spool') }])
  })

  it('is refused by spool drain to another cluster, and sent with --to-any', async () => {
    const [spoolDir, one, two] = [makeTempDirectory(), makeTempDirectory(), makeTempDirectory()]
    const dead = await leaveRun(spoolDir, one)
    const refused = await drain(spoolDir, '--data-dir', two)
    expect(refused.code).toBe(3)
    expect(refused.err).toContain(`the broker is of cluster ${idOf(two)}`)
    expect(refused.out).toMatch(new RegExp(`0 events sent; 1 spool left\n[^]*${dead} .*waiting.* ${idOf(one)}`))
    const sent = await drain(spoolDir, '--data-dir', two, '--to-any')
    expect(sent).toMatchObject({ code: 0, out: '4 events sent; 0 spools left\n' })
    expect(sent.err).toContain(`recorded for cluster ${idOf(one)} to cluster ${idOf(two)}`)
    expect(runsIn(two)).toContain(dead)
  })
})

it('a run that starts on another cluster than the last run records for the one that it reaches', async () => {
  const [spoolDir, one, two] = [makeTempDirectory(), makeTempDirectory(), makeTempDirectory()]
  rememberEmbeddedLog(spoolDir, one)
  const problems: TrailError[] = []
  const trail = openTrail({ dataDir: two, spoolDir, onProblem: (problem) => problems.push(problem) })
  await trail.startSession().decision({ reasoning: 'new' }).acked
  expect(problems).toEqual([])
  expect(lastKnownTopic(join(spoolDir, TOPIC), TOPIC)).toEqual({ cluster: idOf(two), partitions: 4 })
})

const reason = whyNoOwnKafka()

describe.skipIf(reason !== '')(`an address that leads to another Kafka${reason}`, () => {
  let route: BrokerSwitch
  let kafkas: KafkaCluster[]
  let brokers: string[]

  beforeAll(async () => {
    route = await openBrokerSwitch()
    kafkas = [await route.start(), await route.start()]
    brokers = [route.address]
  })
  afterAll(() => route.stop())

  /** Leads to a Kafka, and returns its id. */
  function leadTo(number: 0 | 1): Promise<string> {
    route.to(kafkas[number] as KafkaCluster)
    return withAdmin(connectKafka(brokers), async (admin) => (await admin.describeCluster()).clusterId)
  }

  /** A topic of one name on both; the address leads to the first one then. */
  async function makeTopics(): Promise<string> {
    const topic = `test-${randomUUID()}`
    for (const number of [1, 0] as const) {
      await leadTo(number)
      await makeTopic(connectKafka(brokers), { topic, numPartitions: 2 })
    }
    return topic
  }

  async function reasoningsIn(topic: string): Promise<Set<unknown>> {
    return new Set(rowsOf(await readWholeTopic(connectKafka(brokers), topic)).flatMap((row) => row['reasoning'] ?? []))
  }

  it.each(['disk', 'broker'] as const)(
    'gets no event of a run on the first one, with durability %s; the run says both, and goes on when it is back',
    async (durability) => {
      const topic = await makeTopics()
      const spoolDir = makeTempDirectory()
      const problems: string[] = []
      const onProblem: AuditTrailOptions['onProblem'] = ({ code, message }) => problems.push(`${code} ${message}`)
      const trail = openTrail({ brokers, topic, spoolDir, durability, onProblem })
      const session = trail.startSession()
      await session.decision({ reasoning: 'before' }).acked
      route.to(kafkas[1] as KafkaCluster)
      const meanwhile = session.decision({ reasoning: 'meanwhile' })
      if (durability === 'disk') await meanwhile.stored
      await expect.poll(() => problems.join('\n'), { timeout: 20_000 }).toMatch(/^CLUSTER_CHANGED .*this run recorded/m)
      for (const id of [await leadTo(0), await leadTo(1)]) expect(problems.join('\n')).toContain(id)
      expect(await reasoningsIn(topic)).toEqual(new Set())
      await leadTo(0)
      await meanwhile.acked
      expect(await reasoningsIn(topic)).toEqual(new Set(['before', 'meanwhile']))
    },
  )

  it('gets the later events of a run with toAnyCluster, which says so', async () => {
    const topic = await makeTopics()
    const problems: string[] = []
    const onProblem: AuditTrailOptions['onProblem'] = ({ message }) => problems.push(message)
    const trail = openTrail({ brokers, topic, spoolDir: makeTempDirectory(), toAnyCluster: true, onProblem })
    const session = trail.startSession()
    session.decision({ reasoning: 'before' })
    await trail.flush()
    await leadTo(1)
    await session.decision({ reasoning: 'after' }).acked
    expect(await reasoningsIn(topic)).toEqual(new Set(['after']))
    expect(problems.join('\n')).toMatch(/was cluster .* and is .* now/)
  })

  it('gets the new events of the next run, and the old ones when told to', async () => {
    const topic = await makeTopics()
    const spoolDir = makeTempDirectory()
    const first = openTrail({ brokers, topic, spoolDir, onProblem: () => {} })
    const session = first.startSession()
    session.decision({ reasoning: 'before' })
    await first.flush()
    await leadTo(1)
    await session.decision({ reasoning: 'meanwhile' }).stored
    await first.close({ timeoutMs: 0 })
    const next = openTrail({ brokers, topic, spoolDir, onProblem: () => {} })
    await next.startSession().decision({ reasoning: 'new' }).acked
    expect(await reasoningsIn(topic)).toEqual(new Set(['new']))
    const args = [spoolDir, '--brokers', brokers.join(','), '--to-any']
    expect(await drain(...args)).toMatchObject({ code: 0, err: expect.stringContaining('as toAnyCluster allows') })
    expect(await reasoningsIn(topic)).toEqual(new Set(['meanwhile', 'new']))
  })
})
