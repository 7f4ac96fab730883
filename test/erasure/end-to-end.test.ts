/** Erasure on real Kafka and ClickHouse: agent, consumer, notary, readers, `erase`, and `verify` before and after. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { createAuditTrail } from '@agent-audit/producer'
import { EMPTY_TRUST, formatTrust, generateKey, type KeyRole, signerFromPem } from '@agent-audit/seals'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import { environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { connectKafka, makeTopic } from '../support/kafka-topic.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { ANNA, newStore } from './support.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`
const WAIT = { timeout: 90_000, interval: 200 }
const BERT = 'bert@example.com'
const SECRETS = { [ANNA.id]: 'Lindenweg 4', [BERT]: 'Marktplatz 9' }
const WHY = { reason: 'request 4711 of 2026-11-20', by: 'kim@example.com', source: 'https://login.example.com' }

interface Answer {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function run(args: readonly string[], env: Record<string, string>, signal?: AbortSignal): Promise<Answer> {
  let [out, err] = ['', '']
  const terminal = { out: (text: string) => (out += text), err: (text: string) => (err += text), env, colors: false }
  const code = await runCli(args, { ...terminal, ...(signal === undefined ? {} : { interrupted: () => signal }) })
  return { code, out, err }
}

describe.skipIf(!kafka.available)(`an erasure ${MISSING}`, async () => {
  if (!kafka.available) return
  const { brokers } = await sharedKafka()
  const store = await openStore()
  it('of one subject: its texts are gone, the others stay, and every seal holds', { timeout: 300_000 }, async () => {
    const directory = makeTempDirectory()
    const makeKey = (name: string, role: KeyRole) => {
      const [pem, file] = [generateKey(name), join(directory, `${name}.key`)]
      writeFileSync(file, pem, { mode: 0o600 })
      return {
        pem,
        file,
        trusted: { key: signerFromPem(pem).key, role, notBefore: 0, notAfter: undefined, revoked: undefined },
      }
    }
    const [agent, consumer, notary, eraser] = [
      makeKey('agent', 'producer'),
      makeKey('consumer', 'consumer'),
      makeKey('notary', 'notary'),
      makeKey('privacy', 'eraser'),
    ]
    const trust = join(directory, 'trust.txt')
    const trusted = [agent, consumer, notary, eraser].map((key) => key.trusted)
    writeFileSync(
      trust,
      formatTrust({ ...EMPTY_TRUST, keys: trusted, producers: ['agent'], origin: 'erasure.test/trail' }),
    )
    const { options: keys, store: keyStore } = newStore()
    const withKeys = ['--keys', keys.directory, '--kek', keys.kekFile]
    const environment = (user: { url: string; username: string; password: string }): Record<string, string> => ({
      CLICKHOUSE_URL: user.url,
      CLICKHOUSE_USER: user.username,
      CLICKHOUSE_PASSWORD: user.password,
      KAFKA_BROKERS: brokers.join(','),
    })
    const reader = environment(store.dataDir.reader)
    const log = await openOnKafka(brokers)(store, { partitions: 2 })
    const { topic } = log
    await makeTopic(connectKafka(brokers), { topic: `${topic}.seals`, numPartitions: 1 })
    startConsumerProcess({ ...environmentOf(store, log), AUDIT_SIGNING_KEY_FILE: consumer.file })
    const stopping = new AbortController()
    const notarizing = run(
      ['notary', '--topic', topic, '--key', notary.file, '--trust', trust, '--file', join(directory, 'checkpoints')],
      environment(store.dataDir.notary),
      stopping.signal,
    )
    onTestFinished(async () => {
      stopping.abort()
      expect(await notarizing).toMatchObject({ code: 0 })
    })
    const connection = { brokers, topic, handleExit: false, spoolDir: join(directory, 'spool') }
    const stored = async (type: string): Promise<number> =>
      (await store.rows(`SELECT 1 FROM audit_events WHERE event_type = '${type}'`)).length
    const trail = createAuditTrail({
      ...connection,
      agentId: 'agent',
      signing: { key: agent.pem },
      encryption: { keys },
    })
    for (const [user_id, secret] of Object.entries(SECRETS)) {
      const session = trail.startSession({ session_id: `of ${user_id}`, user_id, user_message: `Send it to ${secret}` })
      session.llmCall({ input_messages: [], output_text: `To ${secret}`, reasoning: secret })
      await session.guard(
        { tool_name: 'ship', tool_call_id: 'c1', tool_input: { to: secret } },
        () => `sent to ${secret}`,
      )
      session.end()
    }
    await trail.close()
    await expect.poll(() => stored('session_end'), WAIT).toBe(2)
    const verify = () => run(['verify', '--trust', trust, '--json'], reader)
    await expect.poll(async () => (await verify()).code, WAIT).toBe(0)

    // No clear text in the table, and the events are read with the keys alone.
    const [{ clear } = { clear: -1 }] = await store.rows<{ clear: number }>(
      `SELECT countIf(toString(tuple(*)) LIKE '%Lindenweg%' OR toString(tuple(*)) LIKE '%Marktplatz%') AS clear FROM audit_events`,
    )
    expect(clear).toBe(0)
    const trailOf = async (user: string, more: readonly string[] = []): Promise<string> => {
      const { code, out } = await run(['trail', `of ${user}`, '--full', ...more], reader)
      expect(code).toBe(0)
      return out
    }
    for (const [user, secret] of Object.entries(SECRETS)) {
      expect(await trailOf(user, withKeys)).toContain(secret)
      const without = await trailOf(user)
      expect(without).toContain('[encrypted]')
      expect(without).not.toContain(secret)
    }

    const { id } = keyStore.keyFor(ANNA)
    const file = join(keys.directory, id.slice(0, 2), `${id}.key`)
    expect(existsSync(file)).toBe(true)
    const who = ['--reason', WHY.reason, '--by', WHY.by, '--identity-source', WHY.source, '--key', eraser.file]
    const erase = ['erase', '--subject', ANNA.id, ...who, ...withKeys, '--topic', topic, '--json']
    const erased = await run(erase, { KAFKA_BROKERS: brokers.join(',') })
    expect([erased.code, JSON.parse(erased.out)]).toMatchObject([0, { done: 'erased', key_id: id }])
    expect(readdirSync(join(keys.directory, id.slice(0, 2)))).toEqual([`${id}.erased`])
    await expect.poll(() => stored('subject.erased'), WAIT).toBe(1)

    const annas = await trailOf(ANNA.id, withKeys)
    expect(annas).toContain('[erased]')
    expect(annas).not.toContain(SECRETS[ANNA.id])
    expect(await trailOf(BERT, withKeys)).toContain(SECRETS[BERT])
    const acts = await store.rows<Record<string, string>>(
      `SELECT event_type, approver_id, reason, content FROM audit_events WHERE event_type LIKE 'subject.%' ORDER BY run_seq`,
    )
    expect(acts.map(({ event_type: type }) => type)).toEqual(['subject.erasing', 'subject.erased'])
    for (const act of acts) {
      expect(act).toMatchObject({ approver_id: WHY.by, reason: WHY.reason })
      const content = JSON.parse(act['content'] ?? '') as Record<string, string>
      expect(content).toMatchObject({ key_id: id, subject_kind: 'user', identity_source: WHY.source })
      expect(content['signature']).toContain(`\n— privacy `)
    }
    expect(JSON.stringify(await store.rows(`SELECT * FROM audit_events WHERE agent_id = 'agent-audit'`))).not.toContain(
      'anna',
    )
    await expect.poll(async () => (await verify()).code, WAIT).toBe(0)
    expect(JSON.parse((await verify()).out)).toMatchObject({ verdict: 'verified', findings: [] })

    // A process that may write to the topic, and has no eraser's key: it says again what an eraser has said.
    const forger = createAuditTrail({ ...connection, agentId: 'agent-audit', redact: 'off' })
    const said = JSON.parse(acts[1]?.['content'] ?? '') as Record<string, unknown>
    const again = { event_type: 'subject.erased', approver_id: WHY.by, reason: WHY.reason, content: said } as const
    forger.startSession().record(again)
    await forger.close()
    await expect.poll(async () => (await verify()).code, WAIT).toBe(1)
    expect(JSON.parse((await verify()).out)).toMatchObject({
      verdict: 'tampering',
      counts: { tampering: 1 },
      findings: expect.arrayContaining([
        expect.objectContaining({
          code: 'erasure-forged',
          message: 'subject.erased: its signature is of another erasure: run_id differ',
        }),
      ]) as unknown,
    })
  })
})
