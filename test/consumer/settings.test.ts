import { readSettings } from '@agent-audit/consumer'
import { expect, it } from 'vitest'

it('has a default for everything but the log', () => {
  expect(readSettings({ AUDIT_DATA_DIR: 'data' })).toMatchObject({
    kafka: undefined,
    AUDIT_DATA_DIR: 'data',
    CLICKHOUSE_URL: 'http://localhost:8123',
    CLICKHOUSE_USER: 'audit_writer',
    BATCH_MAX_EVENTS: 50_000,
    LEASE_MS: 20_000,
  })
})

it.each([[{}], [{ KAFKA_BROKERS: '', AUDIT_DATA_DIR: '' }]])(
  'reads no log that the environment %j does not name, and says both ways to name one',
  (environment) => {
    expect(() => readSettings(environment)).toThrow(
      expect.objectContaining({
        code: 'OPTIONS_INVALID',
        message:
          'wrong settings:\n  KAFKA_BROKERS: expected brokers, or for the embedded log its directory in AUDIT_DATA_DIR',
      }),
    )
    expect(readSettings({ ...environment, KAFKA_BROKERS: 'kafka:9092' })).toMatchObject({ AUDIT_DATA_DIR: '' })
  },
)

it('names every wrong setting at once', () => {
  const wrong = {
    KAFKA_BROKERS: 'kafka',
    CLICKHOUSE_URL: 'not a url',
    BATCH_MAX_EVENTS: 'many',
    HTTP_PORT: '70000',
    KAFKA_SSL: 'yes',
    CLICKHOUSE_PASSWORD_FILE: '/does/not/exist',
  }
  expect(() => readSettings(wrong)).toThrow(
    expect.objectContaining({
      code: 'OPTIONS_INVALID',
      message: expect.stringMatching(
        /CLICKHOUSE_PASSWORD_FILE[^]*KAFKA_BROKERS[^]*KAFKA_SSL[^]*CLICKHOUSE_URL[^]*BATCH_MAX_EVENTS[^]*HTTP_PORT/,
      ),
    }),
  )
})

it('names a contradiction beside a setting that is wrong by itself', () => {
  expect(() =>
    readSettings({ BATCH_MAX_EVENTS: 'many', SESSION_TIMEOUT_MS: '5000', INSERT_TIMEOUT_MS: '6000' }),
  ).toThrow(
    /BATCH_MAX_EVENTS: expected a whole number[^]*INSERT_TIMEOUT_MS: expected less than SESSION_TIMEOUT_MS \(5000\)/,
  )
})

it('names settings that contradict each other', () => {
  expect(() => readSettings({ INSERT_TIMEOUT_MS: '30000', LEASE_MS: '20000' })).toThrow(
    /INSERT_TIMEOUT_MS: expected less than LEASE_MS \(20000\)[^]*INSERT_TIMEOUT_MS: expected less than SESSION_TIMEOUT_MS/,
  )
})
