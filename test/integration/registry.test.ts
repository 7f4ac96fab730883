/** The Confluent way on a real schema registry: the producer registers, the consumer looks ids up. */
import { createAuditTrail } from '@agent-audit/producer'
import { openEmbeddedLogReader } from '@agent-audit/spool'
import { CONFLUENT_BYTES, createSchemaRegistry, NEWEST_SCHEMA, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import { kafkaAvailability, schemaRegistryAvailability, startSchemaRegistry } from '@agent-audit/stack'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  accountOf,
  environmentOf,
  openEmbedded,
  openOnKafka,
  openStore,
  type OpenLog,
  rowsOf,
  runConsumer,
} from '../consumer/support.ts'
import { openGate } from '../support/gate.ts'
import { encodeRecord, makeRecord } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const WAIT = { timeout: 30_000, interval: 50 }
const store = await openStore()
const registryIs = schemaRegistryAvailability()
const kafka = kafkaAvailability()
const server = registryIs.available ? await startSchemaRegistry() : undefined
afterAll(() => server?.stop())
const url = server?.url ?? ''
const kinds: [name: string, openLog: OpenLog][] = [['the embedded log', openEmbedded]]

if (kafka.available && registryIs.available) {
  kinds.push(['Kafka', openOnKafka((await sharedKafka()).brokers)])
} else if (!kafka.available) it.skip(`on Kafka: ${kafka.reason}`)

let subjects = 0
/** A new subject, also on a registry that earlier runs used. */
const newTopic = (): string => `audit.registry.${process.pid}.${Date.now()}.${subjects++}`

/** Record `seq` of a run in the Confluent wire format. */
function frame(id: number, run: string, seq: number): Buffer {
  const body = encodeRecord(makeRecord(run, seq)).subarray(SINGLE_OBJECT_BYTES)
  const header = Buffer.alloc(CONFLUENT_BYTES)
  header.writeUInt32BE(id, 1)
  return Buffer.concat([header, body])
}

/** What the messages of an embedded log begin with: 0 in the Confluent wire format. */
function firstBytes(directory: string, topic: string): Set<number | undefined> {
  const log = openEmbeddedLogReader({ directory })
  try {
    return new Set(log.read(topic, 0, 0, 2 ** 20).map(({ value }) => value?.[0]))
  } finally {
    log.close()
  }
}

/** Registers a foreign schema and returns its id. */
async function registerForeign(
  schema: unknown,
  references: readonly unknown[] = [],
): Promise<[id: number, subject: string]> {
  const subject = newTopic()
  const response = await fetch(`${url}/subjects/${subject}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: JSON.stringify(schema), schemaType: 'AVRO', references }),
  })
  const answer = (await response.json()) as { id?: number }
  if (answer.id === undefined) throw new Error(`not registered: ${JSON.stringify(answer)}`)
  return [answer.id, subject]
}

async function unknownId(): Promise<number> {
  const id = 2 ** 31 - 1
  expect(await createSchemaRegistry({ url }).fingerprintOfId(id)).toBeUndefined()
  return id
}

describe.skipIf(!registryIs.available)(
  `a real schema registry${registryIs.available ? '' : `: ${registryIs.reason}`}`,
  () => {
    it('gives a schema the same id each time, and the id leads back to the schema', async () => {
      const topic = newTopic()
      const id = await createSchemaRegistry({ url }).register(topic, NEWEST_SCHEMA)
      expect(await createSchemaRegistry({ url: `${url}/` }).register(topic, NEWEST_SCHEMA)).toBe(id)
      expect(await createSchemaRegistry({ url }).fingerprintOfId(id)).toBe(NEWEST_SCHEMA.fingerprint)
    })

    it('out of reach is an error that names its address', async () => {
      const gate = await openGate(url)
      await expect(createSchemaRegistry({ url: gate.url }).register('t', NEWEST_SCHEMA)).rejects.toMatchObject({
        code: 'REGISTRY_UNAVAILABLE',
        retryable: true,
        message: expect.stringContaining(gate.url),
      })
    })

    describe.each(kinds)('on %s', (_, openLog) => {
      it('carries what a producer records into rows', async () => {
        const log = await openLog(store)
        const { KAFKA_BROKERS: brokers, AUDIT_DATA_DIR: dataDir } = log.environment
        const trail = createAuditTrail({
          agentId: 'agent-1',
          topic: log.topic,
          ...(brokers === undefined ? { dataDir } : { brokers: brokers.split(','), durability: 'broker' }),
          schemaRegistryUrl: url,
          handleExit: false,
        })
        onTestFinished(async () => void (await trail.close()))
        const session = trail.startSession({ user_id: 'user-1' })
        const receipt = session.decision({ reasoning: 'because ünïcode' })
        session.end()
        expect(await trail.close()).toMatchObject({ pending: 0, refused: 0 })
        const versions = await fetch(`${url}/subjects/${log.topic}-value/versions`)
        expect(versions.status).toBe(200)
        if (dataDir !== undefined) expect(firstBytes(dataDir, log.topic)).toEqual(new Set([0]))
        const consumer = runConsumer({ ...environmentOf(store, log), SCHEMA_REGISTRY_URL: url })
        const stored = async (): Promise<string[]> =>
          (await rowsOf<{ event_type: string }>(store, log, 'audit_events', 'event_type')).map((row) => row.event_type)
        await expect.poll(stored, WAIT).toContain('trail_stopped')
        await consumer.stop()
        const rows = await rowsOf<{ event_id: string; reasoning: string | null }>(
          store,
          log,
          'audit_events',
          `event_id, reasoning, reinterpretAsUInt64(writer_schema) = ${NEWEST_SCHEMA.fingerprint} AS newest`,
        )
        expect(rows).toContainEqual({ event_id: receipt.event_id, reasoning: 'because ünïcode', newest: 1 })
        expect(await accountOf(store, log)).toEqual({ events: rows.length, skipped: {} })
      })

      it('makes records with unknown schema ids dead letters, and stores their neighbours', async () => {
        const log = await openLog(store)
        const ours = await createSchemaRegistry({ url }).register(log.topic, NEWEST_SCHEMA)
        const part = { type: 'record', name: 'Part', namespace: `n${Date.now()}`, fields: [{ name: 'a', type: 'int' }] }
        const [foreign, subject] = await registerForeign(part)
        const name = `${part.namespace}.Part`
        const whole = { type: 'record', name: 'Whole', fields: [{ name: 'part', type: name }] }
        const [referring] = await registerForeign(whole, [{ name, subject, version: 1 }])
        const unknown = await unknownId()
        await log.append(0, [
          frame(ours, 'a', 0),
          frame(unknown, 'a', 1),
          frame(ours, 'a', 2),
          frame(foreign, 'a', 3),
          encodeRecord(makeRecord('a', 4)),
          frame(referring, 'a', 5),
          frame(ours, 'a', 6),
          frame(ours, 'a', 7).subarray(0, -1),
          Buffer.from('000000', 'hex'),
          frame(ours, 'a', 9),
        ])
        runConsumer({ ...environmentOf(store, log), SCHEMA_REGISTRY_URL: url })
        await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 5, skipped: { dead: 5 } })
        const rows = await rowsOf<{ log_offset: number; reason: string }>(
          store,
          log,
          'audit_skipped',
          'log_offset, reason',
        )
        expect(rows).toEqual([
          { log_offset: 1, reason: `unknown schema id ${unknown}` },
          { log_offset: 3, reason: `unknown schema id ${foreign}` },
          { log_offset: 5, reason: `unknown schema id ${referring}` },
          { log_offset: 7, reason: `record ends early (field ${NEWEST_SCHEMA.fields.at(-1)?.name})` },
          { log_offset: 8, reason: 'value ends inside the Confluent header' },
        ])
      })

      it('waits for a registry that is down, without dead letters, and goes on when it is back', async () => {
        const log = await openLog(store)
        const ours = await createSchemaRegistry({ url }).register(log.topic, NEWEST_SCHEMA)
        const gate = await openGate(url)
        await log.append(0, [frame(ours, 'a', 0), null, encodeRecord(makeRecord('a', 1)), frame(ours, 'a', 2)])
        const { consumer } = runConsumer({ ...environmentOf(store, log), SCHEMA_REGISTRY_URL: gate.url })
        await expect.poll(() => gate.cut, WAIT).toBeGreaterThanOrEqual(2)
        await expect
          .poll(() => consumer.status, WAIT)
          .toEqual({ ready: false, reason: expect.stringContaining(gate.url) })
        expect(await accountOf(store, log)).toEqual({ events: 0, skipped: {} })
        gate.open()
        await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 3, skipped: { dead: 1 } })
        await expect.poll(() => consumer.status.ready, WAIT).toBe(true)
      })
    })

    it('is asked again for an id it did not know: a stray message makes no later message a dead letter', async () => {
      const log = await openEmbedded(store)
      const schemas = createSchemaRegistry({ url })
      // Ids rise by one, so the next one is known before it is given.
      const next = (await registerForeign({ type: 'fixed', name: `F${Date.now()}`, size: 3 }))[0] + 1
      expect(await schemas.fingerprintOfId(next)).toBeUndefined()
      await log.append(0, [frame(next, 'a', 0)])
      runConsumer({ ...environmentOf(store, log), SCHEMA_REGISTRY_URL: url })
      await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 0, skipped: { dead: 1 } })
      const text = JSON.stringify({ ...(JSON.parse(NEWEST_SCHEMA.text) as object), doc: `registered ${Date.now()}` })
      const ours = await schemas.register(newTopic(), { ...NEWEST_SCHEMA, text })
      expect(ours).toBe(next)
      await log.append(0, [frame(ours, 'a', 1)])
      await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: { dead: 1 } })
    })
  },
)
