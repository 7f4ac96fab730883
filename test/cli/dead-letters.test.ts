/** From a dead letter to an event: listed, shown, replayed through the log, and never counted as a gap. */
import { runCli } from '@agent-audit/cli'
import { logIdOf } from '@agent-audit/schemas'
import { describe, expect, it } from 'vitest'
import {
  accountOf,
  environmentOf,
  openEmbedded,
  openLogKinds,
  openStore,
  type OpenLog,
  rowsOf,
  runConsumer,
  type TestLog,
} from '../consumer/support.ts'
import { encodeRecord, makeRecord, runIdOf, uuidOf } from '../support/records.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }
const POISON = 'poison: the text of it'
const kinds = await openLogKinds()

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs the command as a reader of the whole trail whose environment names the log. */
async function run(log: TestLog, ...args: string[]): Promise<Ran> {
  const { url, username, password } = store.dataDir.reader
  const env = { ...log.environment, CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  let out = ''
  let err = ''
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
  return { code, out, err }
}

async function json(log: TestLog, ...args: string[]): Promise<{ code: number; found: Record<string, unknown>[] }> {
  const { code, out } = await run(log, ...args, '--json')
  return { code, found: JSON.parse(out) as Record<string, unknown>[] }
}

const alter = (change: string): Promise<string> => store.send(`ALTER TABLE audit_events ${change}`, store.dataDir.admin)

/** Five records, two of them dead letters: the table refused the second for a while, and the fourth is no Avro record. */
async function logWithDeadLetters(
  openLog: OpenLog,
): Promise<{ log: TestLog; name: string; positionOf: (n: number) => string; stop: () => Promise<void> }> {
  const log = await openLog(store)
  const logId = logIdOf(log.sourceId, log.topic).toString('hex')
  const name = `run of ${logId}`
  const record = (seq: number, reasoning: string): Buffer =>
    encodeRecord(
      makeRecord(name, seq, { reasoning, content: '{"a":1}', field_notes: '{"content":{"redacted":{"email":2}}}' }),
    )
  await alter(`ADD CONSTRAINT no_poison CHECK ifNull(reasoning, '') NOT LIKE 'poison%'`)
  await log.append(0, [record(0, 'x'), record(1, POISON), record(2, 'x'), Buffer.from('no record'), record(3, 'x')])
  const consumer = runConsumer(environmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 3, skipped: { dead: 2 } })
  expect(await alter('DROP CONSTRAINT no_poison')).toBe('')
  return { log, name, positionOf: (offset) => `${logId}/0/${offset}`, stop: () => consumer.stop() }
}

describe.each(kinds)('on %s', (_, openLog) => {
  it('becomes an event by replay: once, linked to its position, in a new run, with its content', async () => {
    const { log, name, positionOf } = await logWithDeadLetters(openLog)
    const { found } = await json(log, 'dead-letters', 'list', '--topic', log.topic, '--since', '1h')
    const mine = found.filter(({ position }) => [positionOf(1), positionOf(3)].includes(String(position)))
    expect(mine.map(({ position }) => position)).toEqual([positionOf(3), positionOf(1)])
    expect(mine[1]).toMatchObject({
      topic: log.topic,
      reason: expect.stringContaining('no_poison'),
      run_id: runIdOf(name).toString('hex'),
      run_seq: 1,
      replayed_as: null,
    })
    const shown = await run(log, 'dead-letters', 'show', positionOf(1))
    expect(shown.out).toMatch(/It can be read as an event[^]*reasoning +poison: the text of it[^]*00000000 {2}c3 01/)

    const dry = await json(log, 'dead-letters', 'replay', positionOf(1), positionOf(3), '--dry-run')
    expect(dry.found.map(({ outcome }) => outcome)).toEqual(['would replay', 'refused'])
    const { code, found: replayed } = await json(log, 'dead-letters', 'replay', positionOf(1), positionOf(3))
    expect(code).toBe(1)
    expect(replayed).toEqual([
      expect.objectContaining({ position: positionOf(1), outcome: 'replayed' }),
      expect.objectContaining({
        position: positionOf(3),
        outcome: 'refused',
        reason: expect.stringContaining('neither Avro'),
      }),
    ])
    // The dry run sent nothing.
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 4, skipped: { dead: 2 } })
    const columns = 'event_id, run_id_hex, run_seq, session_id, reasoning, content, field_notes, timestamp, replay_of'
    const rows = await rowsOf<Record<string, unknown>>(store, log, 'audit_events', columns)
    const event = rows.find(({ replay_of }) => replay_of !== null)
    expect(event).toMatchObject({
      event_id: replayed[0]?.['event_id'],
      run_id_hex: replayed[0]?.['run_id'],
      session_id: `session of ${name}`,
      reasoning: POISON,
      content: '{"a":1}',
      timestamp: '2026-01-01 00:00:00.000001',
      replay_of: positionOf(1),
    })
    expect(JSON.parse(String(event?.['field_notes']))).toEqual({
      content: { redacted: { email: 2 } },
      replay_of: { was: { run_id: runIdOf(name).toString('hex'), run_seq: 1, event_id: makeRecord(name, 1).event_id } },
    })

    // Not twice, unless forced; and the trail stays complete.
    const again = await json(log, 'dead-letters', 'replay', positionOf(1))
    expect(again.code).toBe(1)
    expect(again.found[0]).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('it was replayed: its event is at'),
    })
    const forced = await json(log, 'dead-letters', 'replay', positionOf(1), '--force')
    expect(forced).toMatchObject({ code: 0, found: [{ outcome: 'replayed' }] })
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 5, skipped: { dead: 2 } })
    // Nothing is missing but the two numbers of the dead letters, which only they claim.
    expect((await run(log, 'verify', '--completeness')).code).toBe(4)
  })

  it('replayed twice before the consumer has stored the first: one event, and a closed run', async () => {
    const { log, positionOf, stop } = await logWithDeadLetters(openLog)
    await stop()
    const [first, second] = [
      await json(log, 'dead-letters', 'replay', positionOf(1)),
      await json(log, 'dead-letters', 'replay', positionOf(1)),
    ]
    expect(second.found).toEqual(first.found)
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 4, skipped: { dead: 2, duplicate: 1 } })
    const verified = await run(log, 'verify', '--completeness', '--json')
    const runs = (JSON.parse(verified.out) as { runs: Record<string, unknown>[] }).runs
    expect(runs.find(({ run_id }) => run_id === first.found[0]?.['run_id'])).toMatchObject({
      state: 'closed',
      events: 1,
      first_run_seq: 0,
      last_run_seq: 0,
      missing: 0,
    })
  })
})

it('shows the readable fields of a damaged record, and all of its bytes', async () => {
  const log = await openEmbedded(store)
  const damaged = encodeRecord(makeRecord('damaged', 0, { session_id: 'S-77', reason: 'findme' }))
  damaged[damaged.indexOf('findme') + 2] = 0xff
  damaged[damaged.indexOf('findme'.slice(0, 2)) - 2] = 9
  await log.append(0, [damaged])
  runConsumer(environmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 0, skipped: { dead: 1 } })
  const position = `${logIdOf(log.sourceId, log.topic).toString('hex')}/0/0`
  const { out } = await run(log, 'dead-letters', 'show', position, '--json')
  const shown = JSON.parse(out) as { fields: Record<string, unknown> }
  expect(shown).toMatchObject({
    readable: false,
    value_hex: damaged.toString('hex'),
    key_hex: Buffer.from('key').toString('hex'),
  })
  expect(shown.fields).toMatchObject({ session_id: 'S-77', run_id: runIdOf('damaged').toString('hex'), run_seq: 0 })
  expect(shown.fields).not.toHaveProperty('reason')
  expect((await run(log, 'dead-letters', 'show', position)).out).toMatch(/cannot be read as an event[^]*S-77/)
})

it('shows the bytes of a duplicate that is no copy, at the place that verify names; replay does not take it', async () => {
  const log = await openEmbedded(store)
  const [forged, real] = ['the forger', 'the victim'].map((reason) =>
    encodeRecord(makeRecord('taken', 0, { reason, event_id: uuidOf(reason) })),
  )
  await log.append(0, [forged ?? null, real ?? null])
  runConsumer(environmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: { duplicate: 1 } })
  const position = `${logIdOf(log.sourceId, log.topic).toString('hex')}/0/1`
  expect((await run(log, 'verify', '--completeness')).out).toContain(`agent-audit dead-letters show ${position}`)
  const page = await run(log, 'dead-letters', 'show', position)
  expect(page).toMatchObject({ code: 0, out: expect.stringMatching(/^duplicate [^]*reason +the victim/) })
  expect(page.out).not.toContain('replayed')
  const whole = JSON.parse((await run(log, 'dead-letters', 'show', position, '--json')).out) as Record<string, unknown>
  expect(whole).toMatchObject({ kind: 'duplicate', value_hex: real?.toString('hex') })
  expect(await run(log, 'dead-letters', 'replay', position)).toMatchObject({ code: 64, out: '' })
})

it.each([
  [['replay'], /say which/, 64],
  [['replay', 'nowhere'], /log_id\/partition\/offset/, 64],
  [['replay', '0123456789abcdef/0/7'], /no dead letter at 0123456789abcdef\/0\/7/, 64],
  [['show', '0123456789abcdef/0/7'], /no dead letter at/, 1],
])('names the mistake in %j', async (args, message, code) => {
  const log = await openEmbedded(store)
  const ran = await run(log, 'dead-letters', ...args)
  expect(ran.err).toMatch(message)
  expect(ran.code).toBe(code)
})
