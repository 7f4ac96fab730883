/** Exports from a real ClickHouse, with records that a real consumer has stored: every form of a session, conflicts, and what is read. */
import { connectAnalytics, exportEvidence } from '@agent-audit/analytics'
import { readFrame } from '@agent-audit/schemas'
import { type Bundle, checkEvidence, formatBundle, parseBundle, readRecord } from '@agent-audit/seals/evidence'
import { describe, expect, it, onTestFinished } from 'vitest'
import { countEvents, environmentOf, openEmbedded, openStore, runConsumer } from '../consumer/support.ts'
import { fixedLog } from '../seals/vectors/fixed-log.ts'
import { bundleOf, type SealedLog, trustOf, storeSeals } from '../support/evidence.ts'

const WAIT = { timeout: 60_000, interval: 50 }
const store = await openStore()
const log = fixedLog()
const trust = trustOf(log)
const FILLER = 200_000

/** Runs as the admin, who can change any row, and waits for it. */
async function change(statement: string): Promise<void> {
  const now = Date.now()
  const settings = { mutations_sync: '2', log_comment: `${now} ${now + 60_000}` }
  const answer = await store.send(statement, store.dataDir.admin, settings)
  if (answer !== '') throw new Error(answer)
}

/** A record of the session as the table has it: its place in the run. */
function placeIn(of: SealedLog, session: string, index: number): string {
  const records = of.events.map(readRecord).filter(({ fields }) => fields['session_id'] === session)
  const { runId, runSeq } = records[index] ?? { runId: '', runSeq: -1 }
  return `run_id = unhex('${runId}') AND run_seq = ${runSeq}`
}

async function exported(session: string) {
  await using analytics = connectAnalytics(store.dataDir.reader)
  const made = await exportEvidence(analytics, session, { trust })
  if (made === undefined) throw new Error(`no session ${session}`)
  return made
}

/** Without the checkpoints, of which an export has those that its seals need. */
function contentOf(bundle: Buffer): Omit<Bundle, 'log'> {
  const { log: _, ...content } = parseBundle(bundle)
  return content
}

function expected(session: string): Omit<Bundle, 'log'> {
  return contentOf(formatBundle(bundleOf(log, session)))
}

describe('an export', () => {
  it('needs a trail: a real consumer stores what the producers have recorded', { timeout: 120_000 }, async () => {
    const topic = await openEmbedded(store, { partitions: 2 })
    await topic.append(
      0,
      log.events.filter((_, index) => index % 2 === 0),
    )
    await topic.append(
      1,
      log.events.filter((_, index) => index % 2 === 1),
    )
    const consumer = runConsumer(environmentOf(store, topic))
    await expect.poll(() => countEvents(store, topic), WAIT).toBe(log.events.length)
    await consumer.stop()
    await storeSeals(store, log)
  })

  it.each(['short', 'handed', 'adopted', 'rotated', 'approved', 'misled', 'private', 'encrypted', 'open'])(
    'of the session %s has what its messages and seals give',
    async (session) => {
      const { bundle, report, decided } = await exported(session)
      expect(contentOf(bundle)).toEqual(expected(session))
      expect(report).toEqual(checkEvidence(bundle, { trust }))
      expect(decided).toEqual([])
    },
  )

  it('says who has approved, which witness has seen the log, and which texts are encrypted', async () => {
    const { report } = await exported('approved')
    expect(report).toMatchObject({ verdict: 'verified', checkpoint: { witnesses: ['witness.example'] } })
    const says = { decision: 'approved', approver_id: 'kim@example.com', key: 'kim%40example.com', counts: true }
    expect(report.approvals).toMatchObject([
      { ...says, event_type: 'approval_decision' },
      { ...says, event_type: 'tool_call' },
    ])
    const misled = await exported('misled')
    expect(misled.report.approvals).toMatchObject([{ counts: false }])
    const page = parseBundle((await exported('encrypted')).bundle).report
    expect(page).toContain('<dt>reasoning (encrypted)</dt><dd>enc:v1:')
    expect(page).toContain('<dt>output_text (erased)</dt><dd></dd>')
  })

  it('takes the record that the producer has sealed where two rows have one number, and names both', async () => {
    const place = placeIn(log, 'rotated', 0)
    // Before the real one in the order of the log.
    await change(
      `INSERT INTO audit_events SELECT * REPLACE (unhex('0000000000000000') AS log_id, 'forged' AS reasoning)
       FROM (SELECT * FROM audit_events WHERE ${place})`,
    )
    onTestFinished(() => change(`ALTER TABLE audit_events DELETE WHERE log_id = unhex('0000000000000000')`))
    const { bundle, report, decided } = await exported('rotated')
    expect(report.verdict).toBe('verified')
    expect(contentOf(bundle)).toEqual(expected('rotated'))
    const at = expect.stringMatching(/^the event at \d+\/\d+$/) as string
    expect(decided).toEqual([
      { run_id: expect.any(String) as string, run_seq: expect.any(Number) as number, own: at, others: [at] },
    ])
  })

  it.each([
    ['duplicate', 'the duplicate at 7/70'],
    ['dead', 'the dead letter at 7/70'],
  ])('finds it where a foreign row is stored in its place, and the consumer took it for a %s', async (kind, own) => {
    const place = placeIn(log, 'approved', 3)
    const message = log.events.find((each, index) => {
      const { runId, runSeq } = readRecord(each, index)
      return place === `run_id = unhex('${runId}') AND run_seq = ${runSeq}`
    })
    const frame = readFrame(message ?? Buffer.alloc(0))
    expect(frame.kind).toBe('single-object')
    const columns = 'kind, reason, retention_class, run_id, run_seq, value, log_id, log_partition, log_offset, log_time'
    const [, run = '', seq = ''] = /unhex\('(.*)'\) AND run_seq = (\d+)/.exec(place) ?? []
    await change(
      `INSERT INTO audit_skipped (${columns}) VALUES ('${kind}', 'r', 'default', unhex('${run}'), ${seq},
           unhex('${message?.toString('hex')}'), unhex('aaaaaaaaaaaaaaaa'), 7, 70, now64(3))`,
    )
    await change(`ALTER TABLE audit_events UPDATE tool_input = '{"eur":9900}' WHERE ${place}`)
    onTestFinished(async () => {
      await change(`ALTER TABLE audit_events UPDATE tool_input = '{"eur":1200}' WHERE ${place}`)
      await change('ALTER TABLE audit_skipped DELETE WHERE log_partition = 7')
    })
    const { bundle, report, decided } = await exported('approved')
    expect(report.verdict).toBe('verified')
    expect(contentOf(bundle)).toEqual(expected('approved'))
    expect(decided).toMatchObject([{ run_seq: 3, own, others: [expect.stringContaining('the event at ')] }])
  })

  it('reads a small part of the table, as the records of a seal stand near each other in the time of the log', async () => {
    // Of another run: an hour of the log, in the order of its time, in two partitions.
    await change(
      `INSERT INTO audit_events SELECT one.* REPLACE (
         reverse(run_id) AS run_id, number AS run_seq, concat('filler ', toString(intDiv(number, 20))) AS session_id,
         unhex('bbbbbbbbbbbbbbbb') AS log_id, toInt32(number % 2) AS log_partition, toInt64(intDiv(number, 2)) AS log_offset,
         log_time - INTERVAL 30 MINUTE + toIntervalMillisecond(number * 18) AS log_time)
       FROM (SELECT * FROM audit_events WHERE ${placeIn(log, 'short', 0)}) AS one CROSS JOIN numbers(${FILLER}) AS numbers`,
    )
    const before = await rowsRead()
    const { report } = await exported('short')
    expect(report.verdict).toBe('verified')
    const rows = (await rowsRead()) - before

    expect(rows).toBeGreaterThan(0)
    expect(rows).toBeLessThan(FILLER / 4)
  })
})

/** By all queries since the server's start. */
async function rowsRead(): Promise<number> {
  const [row] = await store.rows<{ read: number }>(
    `SELECT toFloat64(value) AS read FROM system.events WHERE event = 'SelectedRows'`,
  )
  return row?.read ?? 0
}
