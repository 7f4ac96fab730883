/** Opening a trail on disk, threads and the clock of this machine. */
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { AuditUnavailableError } from '@agent-audit/schemas'
import type { AuditTrailOptions } from '../api/trail-options.ts'
import { deadline } from '../context/availability.ts'
import { createClaims } from '../context/used-approvals.ts'
import { startDelivery } from '../delivery/port.ts'
import { sayUnnamedSpoolDir } from '../options/destination.ts'
import { resolveOptions } from '../options/options.ts'
import { Trail } from './trail.ts'

/** As `createAuditTrail`, for a caller that appends complete records. */
export function openTrail(options: AuditTrailOptions): Trail {
  const resolved = resolveOptions(options)
  if (resolved.durability === 'disk') {
    checkDirectory(resolved.spoolDir)
    sayUnnamedSpoolDir(options.spoolDir, resolved.destination)
  }
  const clocks = { nowMs: Date.now, elapsedMs: () => performance.now(), deadline }
  return new Trail(resolved, { startDelivery, ...clocks, claims: createClaims(resolved), eager: false })
}

function checkDirectory(directory: string): void {
  try {
    // When a directory is missing on a read-only disk, mkdir says only that it is missing: its nearest parent says why.
    accessSync(nearestOf(directory), constants.W_OK)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    accessSync(directory, constants.W_OK)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new AuditUnavailableError('SPOOL_UNAVAILABLE', `spool directory ${directory}: ${why}`, { cause: error })
  }
}

/** The directory, or the nearest of its parents that exists. */
function nearestOf(directory: string): string {
  return existsSync(directory) || dirname(directory) === directory ? directory : nearestOf(dirname(directory))
}
