/** What the private packages of the repository build on. No contract: any release may change it. */
export { type Availability, embeddedAvailability } from './availability.ts'
export { runStatement } from './clickhouse-client.ts'
export { ADMIN, newPassword, serverLimits, userEntries, type UserSpec } from './clickhouse-files.ts'
export { type Running, startEmbedded } from './clickhouse-process.ts'
export { openDataDirOn, TRAIL_USERS } from './data-dir.ts'
export { tryLock, waitForLock } from './file-lock.ts'
export { freePorts } from './free-port.ts'
export { stopAll, track } from './lifetime.ts'
