/** One insert is one block, whatever the server's thresholds. Otherwise a part of it would stay when the rest is refused. */
import { randomBytes } from 'node:crypto'
import { connectAnalytics, migrate } from '@agent-audit/analytics'
import { readSettings } from '@agent-audit/consumer'
import { composeParts, insertId } from '@agent-audit/consumer/pipeline'
import { writerGrants } from '@agent-audit/schemas'
import { startClickHouse } from '@agent-audit/stack'
import { expect, it } from 'vitest'
import { NO_CLICKHOUSE } from '../analytics/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { encodeRecord, encodeRun, makeRecord } from '../support/records.ts'
import { insertsOf } from './blocks.ts'

const ROWS = 1000

it.skipIf(NO_CLICKHOUSE !== undefined)(
  'an insert whose last record is refused leaves nothing, though the profile cuts blocks after a few rows',
  async () => {
    const database = `audit_test_${randomBytes(6).toString('hex')}`
    const small = { min_insert_block_size_rows: '10', min_insert_block_size_bytes: '0', max_insert_block_size: '10' }
    const users = [{ name: 'writer', grants: writerGrants(database), settings: small }] as const
    await using server = await startClickHouse({ users })
    await using admin = connectAnalytics({ url: server.url, database, ...server.credentials.admin })
    await migrate(admin)
    await admin.command(`ALTER TABLE ${database}.audit_events ADD CONSTRAINT forbidden CHECK agent_id != 'forbidden'`)
    const { username, password } = server.credentials.writer
    const { sink } = composeParts(
      readSettings({
        AUDIT_DATA_DIR: makeTempDirectory(),
        CLICKHOUSE_URL: server.url,
        CLICKHOUSE_DATABASE: database,
        CLICKHOUSE_USER: username,
        CLICKHOUSE_PASSWORD: password,
      }),
    )
    const logPartition = { logId: randomBytes(8), topic: 'events', partition: 0 }
    const last = encodeRecord(makeRecord('a', ROWS, { agent_id: 'forbidden' }))
    const [insert] = await insertsOf(logPartition, [...encodeRun('a', 0, ROWS - 1), last])
    if (insert === undefined) throw new Error('expected an insert')
    const fencedAt = await sink.now()
    const queryId = insertId([logPartition])
    const answer = await sink.insert({ ...insert, queryId, token: queryId, fencedAt, deadline: fencedAt + 60_000 })
    expect(await sink.accounted(logPartition, 0)).toEqual([])
    expect(answer).toMatchObject({ kind: 'bad-data' })
    await sink.close()
    await admin.command(`DROP DATABASE IF EXISTS ${database} SYNC`)
  },
)
