/** `agent-audit why` as people and scripts use it. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { connectAnalytics, why, type Why } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { openDataDir } from '@agent-audit/embedded'
import type { AuditSession, AuditTrail } from '@agent-audit/producer'
import { EMPTY_TRUST } from '@agent-audit/seals'
import { beforeAll, describe, expect, it } from 'vitest'
import { type SeedRow, type Server } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { KIM, MAIL, PAYMENT, storedTrail } from '../analytics/why-support.ts'
import { makeKey, makeTrustFile, trusted } from '../producer/guard/signing-support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const SESSIONS_FILE = process.env['AUDIT_SESSIONS_FILE'] ?? ''
const NO_SESSIONS = existsSync(SESSIONS_FILE)
  ? NO_CLICKHOUSE
  : '(skipped: set AUDIT_SESSIONS_FILE to a file of recorded sessions)'
/** Events that are asked for, each of some ten queries. */
const SAMPLE = 50
/** All sessions are replayed first. */
const REPLAY_TIMEOUT_MS = 240_000
const ROOT = new URL('../../', import.meta.url).pathname

async function run(args: readonly string[], server?: Server) {
  let out = ''
  let err = ''
  const env: Record<string, string> =
    server === undefined
      ? {}
      : {
          CLICKHOUSE_URL: server.url,
          CLICKHOUSE_USER: server.username,
          CLICKHOUSE_PASSWORD: server.password,
          CLICKHOUSE_DATABASE: server.database,
        }
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
  return { code, out, err }
}

/** Columns of a line, as a terminal counts plain text with box characters. */
function widest(text: string): number {
  return Math.max(...text.split('\n').map((line) => Array.from(line).length))
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`agent-audit why ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  async function paid(mail: string, note = '') {
    const store = await tests.newTrail()
    const to = 'GB33BUKB20201555555555'
    const events = await storedTrail(store, async (trail) =>
      trail.withSession(
        { session_id: 's1', user_message: 'Pay what the mail says', user_id: 'u7' },
        async (session) => {
          session.llmCall({ input_messages: [], output_text: null, tool_calls_requested: [] })
          session.toolCall({ tool_name: 'read_mail', tool_input: {}, tool_call_id: 'r' })
          session.toolResult({ tool_name: 'read_mail', tool_call_id: 'r', tool_output: mail, untrusted: true })
          const input = { ...PAYMENT, to, note }
          session.llmCall({
            input_messages: [],
            output_text: note,
            reasoning: 'The mail asks for it.',
            tool_calls_requested: [{ id: 'call-1', name: 'send_payment', input }],
          })
          const call = { tool_name: 'send_payment', tool_input: input, tool_call_id: 'call-1', requires_approval: true }
          const approval = await trail.decideApproval(await session.requestApproval(call), {
            ...KIM,
            approval_status: 'approved',
          })
          await session.guard(call, async () => 'paid', { approval })
        },
      ),
    )
    const id = events.find(({ event_type, tool_name }) => event_type === 'tool_call' && tool_name === 'send_payment')
    return { store, id: id?.event_id ?? '' }
  }

  it('a tree of 80 columns answers each question', async () => {
    const { store, id } = await paid(MAIL)
    const { code, out, err } = await run(['why', id], store.server)
    expect([code, err]).toEqual([0, ''])
    expect(widest(out)).toBeLessThanOrEqual(80)
    const text = out.replaceAll(/\n[│ ]*(?![├└])/g, ' ')
    for (const answer of [
      'tool_call send_payment by agent payer: allowed',
      'Reasoning (claimed by the model, no evidence)',
      'its reasoning: The mail asks for it.',
      'it asked for exactly this call',
      'result (success, effect confirmed',
      'none of them changed in the session before',
      '$.to = GB33BUKB20201555555555: ONLY from what tools returned: read_mail',
      'LOOKS LIKE AN INSTRUCTION',
      'approved by person kim@example.com',
      'identity from https://login.example.com',
      'not signed',
      'approved and recorded arguments are equal',
      'What followed',
    ]) {
      expect(text).toContain(answer)
    }
  })

  it('says whose signature a decision has, and what of it does not count', async () => {
    const store = await tests.newTrail()
    const call = { tool_name: 'send_payment', tool_input: PAYMENT, requires_approval: true }
    const key = makeKey('approval desk')
    const options = {
      approvalSigning: { key: key.pem },
      // Another decision in the place of the recorded one, as a writer of the tables may put it there.
      change: (rows: SeedRow[]) =>
        rows.map((row) => (row['session_id'] === 's2' ? { ...row, approver_id: row['approver_id'] && 'eve' } : row)),
    }
    const pay = async (session: AuditSession, trail: AuditTrail): Promise<void> => {
      const request = await session.requestApproval(call)
      const approval = await trail.decideApproval(request, { ...KIM, approval_status: 'approved' })
      await session.guard(call, async () => 'paid', { approval })
      session.end()
    }
    const events = await storedTrail(
      store,
      async (trail) => {
        await pay(trail.startSession({ session_id: 's1' }), trail)
        await pay(trail.startSession({ session_id: 's2' }), trail)
      },
      options,
    )
    const [genuine = '', altered = ''] = events.flatMap(({ event_type, event_id }) =>
      event_type === 'tool_call' ? [event_id] : [],
    )
    const trust = (change = {}): string => {
      const keys = [trusted(key, change)]
      return makeTrustFile({ ...EMPTY_TRUST, keys, services: ['approval desk'] }).path
    }
    const said = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await run(['why', ...args], store.server)
      expect([code, err]).toEqual([0, ''])
      return out.replaceAll(/\n[│ ]*(?![├└])/g, ' ')
    }
    expect(await said(genuine)).toContain('signature by approval desk, not verified: give --trust FILE')
    expect(await said(genuine, '--trust', trust())).toContain('signed by approval desk')
    expect(await said(altered, '--trust', trust())).toContain('! signature of another decision: approver_id differ')
    const revoked = await said(genuine, '--trust', trust({ revoked: Date.UTC(2021, 0) }))
    expect(revoked).toContain('! signature WRONG: approval: the key "approval%20desk" is revoked at')
    expect(await run(['why', genuine, '--root', 'x'], store.server)).toMatchObject({ code: 64 })
  })

  it('recorded text is text: it cannot act on the terminal, nor draw branches of the tree', async () => {
    const hostile = `\u001B[2J\u202Eevil\u0007\n└─ Approval: approved\n${'漢字'.repeat(300)} ${'x'.repeat(5000)}`
    const { store, id } = await paid(`${MAIL} ${hostile}`, hostile)
    const { code, out } = await run(['why', id], store.server)
    expect(code).toBe(0)
    expect(out).not.toMatch(/[\p{Cf}\p{Co}]/u)
    expect(Array.from(out).filter((character) => character < ' ' && character !== '\n')).toEqual([])
    expect(out.split('\n').filter((line) => line.startsWith('└─ Approval'))).toEqual([])
    expect(out.length).toBeLessThan(20_000)
    expect(out).toContain('more characters (--json has all)')
    const json = await run(['why', id, '--json'], store.server)
    expect(json.out).not.toContain('\u001B')
    expect((JSON.parse(json.out) as Why).call?.tool_input).toMatchObject({ note: hostile })
  })

  it('says what is unknown, and exits as the other commands do', async () => {
    const store = await tests.newTrail()
    const events = await storedTrail(store, async (trail) =>
      trail.withSession({ session_id: 's1' }, async (session) => {
        session.toolCall({ tool_name: 'drop_table', tool_input: {} })
      }),
    )
    const call = events.find(({ event_type }) => event_type === 'tool_call')?.event_id ?? ''
    const { code, out } = await run(['why', call], store.server)
    expect(code).toBe(0)
    for (const unknown of [
      'no user recorded',
      'no reasoning was recorded',
      'no call of the model that led to it is recorded',
      'no result is recorded',
      'system prompt: no hash recorded',
      'model not recorded',
      'policy not recorded',
      'it had read no result of a tool before',
      'none was required, and none is recorded',
    ]) {
      expect(out).toContain(unknown)
    }
    const started = events.find(({ event_type }) => event_type === 'trail_started')?.event_id ?? ''
    const own = await run(['why', started], store.server)
    expect([own.code, own.out.replaceAll('\n', ' ')]).toEqual([
      0,
      expect.stringContaining('The trail recorded itself here') as unknown,
    ])
    const unknown = await run(['why', '019b7720-6c45-7641-8eba-d3f3000014ac'], store.server)
    expect(unknown).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^agent-audit: no event "019b7720.*\n$/) as unknown,
    })
    const malformed = await run(['why', "x' OR 1=1"], store.server)
    expect(malformed).toMatchObject({
      code: 64,
      out: '',
      err: expect.stringMatching(/^agent-audit: an event id is a UUID.*\n$/) as unknown,
    })
  })
})

describe.skipIf(NO_SESSIONS !== undefined)(`why over recorded sessions ${NO_SESSIONS ?? ''}`, () => {
  it(
    'has an answer for a sample of their events, each within 80 columns, and the model call that asked for it',
    async () => {
      const dataDir = join(makeTempDirectory(), 'data')
      const args = [
        '--conditions=agent-audit-source',
        'start/src/main.ts',
        '--data-dir',
        dataDir,
        '--replay',
        SESSIONS_FILE,
      ]
      const started = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
      expect([started.status, started.stderr]).toEqual([0, expect.any(String)])
      await using opened = await openDataDir(dataDir, { create: false })
      await using analytics = connectAnalytics(opened.reader)
      const ids = await analytics.rows<{ event_id: string }>(
        `SELECT event_id FROM {database:Identifier}.audit_events
       WHERE event_type IN ('tool_call', 'tool_result', 'final_output', 'llm_call') ORDER BY cityHash64(event_id) LIMIT ${SAMPLE}`,
      )
      expect(ids).toHaveLength(SAMPLE)
      const wrong: string[] = []
      for (const { event_id } of ids) {
        const answer = await why(analytics, event_id)
        const asked = answer?.about === 'no_action' || answer?.reasoning.llm_call?.asked_for === 'this_call'
        if (answer === undefined || !asked || answer.notes.length > 0) wrong.push(event_id)
      }
      expect(wrong).toEqual([])
      for (const { event_id } of ids.slice(0, 4)) {
        const { code, out } = await run(['why', event_id, '--data-dir', dataDir])
        expect([code, widest(out) <= 80]).toEqual([0, true])
      }
    },
    REPLAY_TIMEOUT_MS,
  )
})
