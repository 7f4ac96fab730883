/** Copies of records: the bytes of a record are its slice's, and end with it. */
import type { LogRecord } from '@agent-audit/kafka'

/** A copy that outlives the record's slice. */
export function copyRecord({ offset, logTimeMs, key, value, headers }: LogRecord): LogRecord {
  return {
    offset,
    logTimeMs,
    key: key && Buffer.from(key),
    value: value && Buffer.from(value),
    headers: copyHeaders(headers),
  }
}

export function copyHeaders(headers: LogRecord['headers']): LogRecord['headers'] {
  if (headers === undefined) return undefined
  return Object.fromEntries(Object.entries(headers).map(([name, header]) => [name, copyBytes(header)]))
}

/** Of the key and the headers of a record. */
export function bytesAround({ key, headers }: Pick<LogRecord, 'key' | 'headers'>): number {
  if (headers === undefined) return key?.length ?? 0
  const values = Object.values(headers).flat()
  return values.reduce<number>((sum, value) => sum + (Buffer.isBuffer(value) ? value.length : 0), key?.length ?? 0)
}

function copyBytes(header: unknown): unknown {
  return Array.isArray(header) ? header.map(copyBytes) : Buffer.isBuffer(header) ? Buffer.from(header) : header
}
