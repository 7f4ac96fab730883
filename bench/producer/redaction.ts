/**
 * `npm run bench:redaction` measures the cost of redaction in the agent's thread by size of event: all CPU of the thread
 * while it records and hands over events, divided by events. One process; the rules take turns; the figure is the median.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { type AuditTrail, createAuditTrail, type Redact } from '@agent-audit/producer'
import { makeSessions, type SessionScript } from '../support/sessions.ts'
import { readSizeMix } from '../support/size-mix.ts'

const RULES: Readonly<Record<string, Redact>> = {
  off: 'off',
  secrets: 'secrets',
  'and personal data': { patterns: ['email', 'card', 'iban', 'phone'] },
  'and a function': { custom: (text) => text },
}
const BARE_RECORD_BYTES = 290
const SIZES: Readonly<Record<string, { scripts: readonly SessionScript[]; events: number }>> = {
  '0.3 KB': { scripts: makeSessions(40, () => 12, 17), events: 20_000 },
  '4 KB': { scripts: makeSessions(40, () => 4096 - BARE_RECORD_BYTES, 17), events: 4000 },
  '32 KB': { scripts: makeSessions(10, () => 32_768 - BARE_RECORD_BYTES, 17), events: 500 },
  'real size mix': { scripts: readSizeMix(process.env['AUDIT_SESSIONS_FILE']).sessions, events: 10_000 },
}
const ROUNDS = 7

const directory = mkdtempSync(join(tmpdir(), 'agent-audit-redaction-'))
try {
  for (const [size, { scripts, events }] of Object.entries(SIZES)) {
    const costs = await compare(scripts, events)
    const off = costs['off'] ?? 0
    const line = Object.entries(costs).map(([name, us]) => `${name} ${us.toFixed(2)} us (+${(us - off).toFixed(2)})`)
    process.stdout.write(`${size} an event: ${line.join(', ')}\n`)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** Microseconds for each event, by rules. */
async function compare(scripts: readonly SessionScript[], events: number): Promise<Record<string, number>> {
  const rounds: Record<string, number[]> = {}
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, redact] of Object.entries(RULES)) {
      const us = await measure(redact, scripts, events)
      if (round > 0) (rounds[name] ??= []).push(us) // The first one compiles.
    }
  }
  const medians = Object.entries(rounds).map(([name, all]) => [name, all.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? 0])
  return Object.fromEntries(medians) as Record<string, number>
}

async function measure(redact: Redact, scripts: readonly SessionScript[], least: number): Promise<number> {
  const dataDir = mkdtempSync(join(directory, 'data-'))
  const trail = createAuditTrail({ agentId: 'a', dataDir, durability: 'memory', redact, handleExit: false })
  const before = process.threadCpuUsage()
  const events = await record(trail, scripts, least)
  const { user, system } = process.threadCpuUsage(before)
  await trail.close()
  rmSync(dataDir, { recursive: true, force: true })
  return (user + system) / events
}

async function record(trail: AuditTrail, scripts: readonly SessionScript[], least: number): Promise<number> {
  let count = 0
  for (let number = 0; count < least; number++) {
    const { start, events } = scripts[number % scripts.length] ?? { start: {}, events: [] }
    const session = trail.startSession(start)
    for (const event of events) session.record(event)
    session.end()
    count += events.length + 2
    await setImmediate()
    await trail.writable()
  }
  return count
}
