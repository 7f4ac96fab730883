/** Decisions on findings, from the command through the log and the consumer to the state in the list; and whose they count. */
import { connectAnalytics } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { Alerts, Engine, findings, type StoredFinding } from '@agent-audit/detect'
import { describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openLogKinds, openStore, runConsumer, type TestLog } from '../consumer/support.ts'
import { encodeRecord, makeRecord } from '../support/records.ts'
import { ERRORS, judgeOn } from './support.ts'

const store = await openStore()
const kinds = await openLogKinds()
const WAIT = { timeout: 30_000, interval: 50 }
const detectors = [{ ...ERRORS, name: 'test.decided' }]

async function run(log: TestLog, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { url, username, password } = store.dataDir.reader
  const env = { ...log.environment, CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  let [out, err] = ['', '']
  const topic = ['ack', 'suppress', 'escalate'].includes(args[0] ?? '') ? ['--topic', log.topic] : []
  const code = await runCli(['detect', ...args, ...topic], {
    out: (text) => (out += text),
    err: (text) => (err += text),
    env,
    colors: false,
  })
  return { code, out, err }
}

async function listed(log: TestLog, agent: string): Promise<StoredFinding[]> {
  const { out } = await run(log, 'list', '--agent', agent, '--json')
  return JSON.parse(out) as StoredFinding[]
}

describe.each(kinds)('on %s', (_, openLog) => {
  it('acknowledge, escalate and suppress: the latest decides, and a suppressed finding is no alert', async () => {
    const log = await openLog(store)
    const agent_id = `agent of ${log.sourceId}/${log.topic}`
    const record = (seq: number): Buffer =>
      encodeRecord(
        makeRecord(log.topic, seq, { event_type: 'error', error: 'boom', agent_id, session_id: `${agent_id} ${seq}` }),
      )
    await log.append(0, [record(0), record(1)])
    const consumer = runConsumer(environmentOf(store, log))
    await expect.poll(async () => (await accountOf(store, log)).events, WAIT).toBe(2)
    await using detector = connectAnalytics(store.dataDir.detector)
    await judgeOn(new Engine(detector, { detectors }))
    const [one, two] = await listed(log, agent_id)
    expect([one?.state, two?.state]).toEqual(['open', 'open'])
    const id = one?.finding_id ?? ''
    const said = await run(log, 'ack', id, '--by', 'ana@example.com', '--reason', 'known, on it')
    expect(said).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^acknowledged .*: recorded as event /) })
    await expect
      .poll(async () => (await listed(log, agent_id)).map(({ state }) => state), WAIT)
      .toContain('acknowledged')
    expect(await findings(detector, { ids: [id] })).toMatchObject([
      { decided_by: 'ana@example.com', decision_reason: 'known, on it', decided_at: expect.stringMatching(/Z$/) },
    ])
    await run(log, 'escalate', id, '--by', 'ben', '--reason', 'worse than thought')
    await expect.poll(async () => (await findings(detector, { ids: [id] }))[0]?.state, WAIT).toBe('escalated')
    const rule = ['--detector', 'test.decided', '--agent', agent_id, '--until', '1d']
    await run(log, 'suppress', ...rule, '--by', 'ben', '--reason', 'a load test')
    await expect
      .poll(async () => (await listed(log, agent_id)).map(({ state }) => state).toSorted(), WAIT)
      .toEqual(['escalated', 'suppressed'])
    const sent: string[] = []
    const target = {
      name: log.topic,
      send: ({ cause }: StoredFinding) => Promise.resolve(void sent.push(cause)),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
    await new Alerts(detector, [target], { severity: 'medium' }).deliver()
    expect(sent).toContain(one?.cause)
    expect(sent).not.toContain(two?.cause)
    await consumer.stop()
    expect((await run(log, 'ack', '00000000-0000-8000-8000-000000000000', '--by', 'a', '--reason', 'b')).code).toBe(64)
  })

  it('of an agent on itself do not count', async () => {
    const log = await openLog(store)
    const agent_id = `cunning ${log.sourceId}/${log.topic}`
    const own = { agent_id, session_id: agent_id }
    await log.append(0, [encodeRecord(makeRecord(log.topic, 0, { ...own, event_type: 'error', error: 'boom' }))])
    const consumer = runConsumer(environmentOf(store, log))
    await expect.poll(async () => (await accountOf(store, log)).events, WAIT).toBe(1)
    await using detector = connectAnalytics(store.dataDir.detector)
    await judgeOn(new Engine(detector, { detectors }))
    const [finding] = await listed(log, agent_id)
    const content = JSON.stringify({ finding_id: finding?.finding_id })
    await log.append(0, [encodeRecord(makeRecord(log.topic, 1, { ...own, event_type: 'finding.suppressed', content }))])
    await expect.poll(async () => (await accountOf(store, log)).events, WAIT).toBe(2)
    expect((await listed(log, agent_id)).map(({ state }) => state)).toEqual(['open'])
    await consumer.stop()
  })
})
