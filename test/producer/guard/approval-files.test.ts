/** The files of used approvals in a spool directory: they stay as long as a process may take the approval for valid. */
import { readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ApprovalDecision, AuditTrail } from '@agent-audit/producer'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail } from '../support.ts'
import { KIM, payment, yes } from './approval-support.ts'

const HOUR_MS = 3_600_000
const START = new Date('2026-01-01T12:00:00Z')

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
afterEach(() => void vi.useRealTimers())

/** Sets the clock of this process; its timers go on. */
function setHours(hours: number): void {
  vi.setSystemTime(START.getTime() + hours * HOUR_MS)
}

/** Opens a trail whose spools, and used approvals, are in `directory`. */
function openOn(directory: string): AuditTrail {
  return openTrail({ dataDir: directory, spoolDir: directory, guardTimeoutMs: 60_000 })
}

/** Asks for an approval that is valid for an hour, and uses it. */
async function useApproval(trail: AuditTrail): Promise<ApprovalDecision> {
  const session = trail.startSession({ session_id: 's1' })
  const approval = await trail.decideApproval(await session.requestApproval(payment, { ttlMs: HOUR_MS }), yes)
  expect(await session.guard(payment, () => 'paid', { approval })).toBe('paid')
  return approval
}

/** Ids of the approvals that have a file. */
function filesIn(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => /^approval-(.+)\.used$/.exec(name)?.[1] ?? [])
}

describe('the file of a used approval', () => {
  it('stays for a day after the expiry, and is removed by the next trail after that', async () => {
    const directory = makeTempDirectory()
    setHours(0)
    const { approval_id } = await useApproval(openOn(directory))
    setHours(1 + 23)
    // A trail removes files when it opens: by the end of a guarded call it has read the directory.
    const { approval_id: second } = await useApproval(openOn(directory))
    expect(filesIn(directory).toSorted()).toEqual([approval_id, second].toSorted())
    setHours(1 + 24.1)
    openOn(directory)
    await expect.poll(() => filesIn(directory)).toEqual([second])
  })

  it('is removed by a trail that stays open, with a later claim', async () => {
    const directory = makeTempDirectory()
    setHours(0)
    const trail = openOn(directory)
    await useApproval(trail)
    setHours(26)
    const { approval_id: second } = await useApproval(trail)
    await expect.poll(() => filesIn(directory)).toEqual([second])
  })

  it('of an override is removed too', async () => {
    const directory = makeTempDirectory()
    setHours(0)
    const session = openOn(directory).startSession()
    const by = { ...KIM, reason: 'urgent', ttlMs: HOUR_MS }
    const override = await session.override(payment, by)
    await session.guard(payment, () => 'paid', { override })
    expect(filesIn(directory)).toEqual([override.event_id])
    setHours(26)
    openOn(directory)
    await expect.poll(() => filesIn(directory)).toEqual([])
  })

  it.each([
    ['no date', ''],
    ['the beginning of a date', '2020-01-01'],
    ['another text', '2020-01-01T00:00:00.000Z or so\n'],
  ])('with %s goes a day after the longest lifetime of an approval', async (_, text) => {
    const directory = makeTempDirectory()
    setHours(0)
    await openOn(directory).close()
    for (const [id, days] of [
      ['old', 367.1],
      ['young', 366.9],
    ] as const) {
      const file = join(directory, `approval-${id}.used`)
      writeFileSync(file, text)
      const made = START.getTime() / 1000 - days * 24 * 3600
      utimesSync(file, made, made)
    }
    openOn(directory)
    await expect.poll(() => filesIn(directory)).toEqual(['young'])
  })
})
