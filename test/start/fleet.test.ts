import { describe, expect, it } from 'vitest'
import { command, NO_CLICKHOUSE, start, summaryOf } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

describe.skipIf(NO_CLICKHOUSE !== undefined)(`npm start with a simulated fleet ${NO_CLICKHOUSE ?? ''}`, () => {
  it('records, stores each event once and shows it; a second run adds to the same directory', async () => {
    const dataDir = makeTempDirectory()
    const args = ['--data-dir', dataDir, '--sessions', '60', '--seed', '7', '--json']
    const first = await start(args)
    expect(first).toMatchObject({ exitCode: 0 })
    const summary = summaryOf(first)
    expect(summary).toMatchObject({ sessions: 60, duplicates: 0, dead_letters: 0 })
    expect(summary.stored).toBe(summary.accepted)
    expect(summary.by_type).toMatchObject({ session_start: 60, trail_started: 1, trail_stopped: 1 })
    expect(Object.values(summary.by_type).reduce((sum, count) => sum + count)).toBe(summary.stored)

    // For people: the counts side by side, a timeline, the agents, and commands that work afterwards.
    const accepted = summary.accepted.toLocaleString('en-US')
    expect(first.stdout).toMatch(new RegExp(`^total +${accepted} +${accepted}$`, 'm'))
    expect(first.stdout).toMatch(/^TIME +STEP +EVENT +TOOL +TEXT$/m)
    expect(first.stdout).toMatch(/tool_call +\S+ (denied|blocked)/)
    expect(first.stdout).toMatch(/^AGENT +SESSIONS .* TOKENS IN +TOKENS OUT/m)
    const further = /^ {2}npx agent-audit (trail \S+) --data-dir (\S+) --full$/m.exec(first.stdout)
    expect(further?.[2]).toBe(dataDir)
    expect(await command(dataDir, (further?.[1] ?? '').split(' '))).toMatchObject({ exitCode: 0 })

    const second = await start(args)
    expect(second).toMatchObject({ exitCode: 0 })
    // The same seed has the same conversations, in new sessions.
    expect(summaryOf(second).by_type).toEqual(summary.by_type)
    const verified = await command(dataDir, ['verify', '--completeness', '--json'])
    expect(verified).toMatchObject({ exitCode: 0 })
    expect(JSON.parse(verified.stdout)).toMatchObject({ verdict: 'complete', events: summary.stored * 2 })
  })

  it('shows denied, blocked and failed actions, interventions, crossings, snapshots and timeouts', async () => {
    const run = await start(['--data-dir', makeTempDirectory(), '--sessions', '200', '--seed', '1', '--json'])
    expect(run).toMatchObject({ exitCode: 0 })
    expect(Object.keys(summaryOf(run).by_type)).toEqual([
      'decision',
      'error',
      'final_output',
      'human_intervention',
      'llm_call',
      'sandbox_crossing',
      'session_end',
      'session_start',
      'session_timeout',
      'state_snapshot',
      'tool_call',
      'tool_result',
      'trail_started',
      'trail_stopped',
      'user_message',
    ])
  })
})
