export type { Credentials } from './clickhouse-client.ts'
export type { ClickHouseServer } from './clickhouse-process.ts'
export { type DataDir, type DataDirOptions, type DataDirUser, openDataDir } from './data-dir.ts'
