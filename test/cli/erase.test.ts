/** `agent-audit erase` and the readers of encrypted fields, as an operator uses them. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Server } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { KIM, storedTrail } from '../analytics/why-support.ts'
import { ANNA, asStored, newStore, type TestStore } from '../erasure/support.ts'
import { sessionRows } from '../producer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const SECRET = 'Lindenweg 4'
const ADDRESS = { to: SECRET }

async function run(args: readonly string[], env: Record<string, string> = {}) {
  let [out, err] = ['', '']
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
  return { code, out, err }
}

function of(server: Server): Record<string, string> {
  const { url, username, password, database } = server
  return {
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
  }
}

function keysOf({ options }: TestStore): string[] {
  return ['--keys', options.directory, '--kek', options.kekFile]
}

const deny = () => ({ outcome: 'denied', reason: 'not today' }) as const
const WHY = ['--reason', 'request 4711 of 2026-11-20', '--by', 'kim@example.com']

describe('agent-audit erase', () => {
  it('destroys the key, and the trail says when, why and by which person, without the name', async () => {
    const keys = newStore()
    const { id } = keys.store.keyFor(ANNA)
    const dataDir = makeTempDirectory()
    const erase = () =>
      run(['erase', '--subject', ANNA.id, ...WHY, ...keysOf(keys), '--json'], { AUDIT_DATA_DIR: dataDir })
    const { code, out } = await erase()
    expect([code, JSON.parse(out)]).toEqual([
      0,
      { done: 'erased', key_id: id, event_id: expect.any(String) as unknown },
    ])
    expect(keys.store.find(id)).toEqual({ id, secret: undefined })
    const rows = sessionRows(dataDir)
    const common = { approver_id: 'kim@example.com', reason: 'request 4711 of 2026-11-20' }
    expect(rows.slice(1, 3)).toMatchObject([
      { ...common, event_type: 'subject.erasing', content: { key_id: id, subject_kind: 'user' } },
      { ...common, event_type: 'subject.erased', content: { key_id: id, again: false, erasing: rows[1]?.event_id } },
    ])
    expect(JSON.stringify(rows)).not.toContain('anna')
    expect(JSON.parse((await erase()).out)).toMatchObject({ done: 'was_erased', key_id: id })
  })

  it('destroys nothing that the trail cannot record, and does nothing for a name that has no key', async () => {
    const keys = newStore()
    const { id } = keys.store.keyFor(ANNA)
    const dataDir = makeTempDirectory()
    const args = ['erase', '--subject', ANNA.id, ...keysOf(keys)]
    const nowhere = await run([...args, ...WHY])
    expect(nowhere).toMatchObject({ code: 64, err: expect.stringMatching(/where is the log/) as unknown })
    const named = await run([...args, '--reason', 'Anna@example.com asked', '--by', 'kim'], { AUDIT_DATA_DIR: dataDir })
    expect(named).toMatchObject({ code: 64, err: expect.stringMatching(/--reason has the name/) as unknown })
    const wrong = await run(['erase', '--subject', 'ana@example.com', ...WHY, ...keysOf(keys)], {
      AUDIT_DATA_DIR: dataDir,
    })
    expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/has no key here/) as unknown })
    expect(keys.store.find(id)?.secret).toBeDefined()
    expect(sessionRows(dataDir)).toEqual([])
  })

  it('admits an erased subject again, on record', async () => {
    const keys = newStore()
    const { id } = keys.store.keyFor(ANNA)
    const dataDir = makeTempDirectory()
    const args = ['erase', '--subject', ANNA.id, ...WHY, ...keysOf(keys)]
    const again = () => run([...args, '--admit-again', '--json'], { AUDIT_DATA_DIR: dataDir })
    expect((await again()).code).toBe(1)
    await run(args, { AUDIT_DATA_DIR: dataDir })
    expect(await again()).toMatchObject({ code: 0 })
    expect(keys.store.keyFor(ANNA).id).not.toBe(id)
    expect(sessionRows(dataDir).map(({ event_type }) => event_type)).toContain('subject.admitted')
  })
})

it('agent-audit data-keys init makes a store once, for its owner alone', async () => {
  const home = makeTempDirectory()
  const args = ['data-keys', 'init', join(home, 'keys'), '--kek', join(home, 'kek'), '--json']
  expect(JSON.parse((await run(args)).out)).toMatchObject({ made: true, kek_made: true })
  expect(JSON.parse((await run(args)).out)).toMatchObject({ made: false, kek_made: false })
  expect(existsSync(join(home, 'keys', 'store'))).toBe(true)
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`readers of encrypted fields ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('show encrypted without keys, clear text with them, and erased after the erasure', async () => {
    const keys = newStore()
    const store = await tests.newTrail()
    const call = { tool_name: 'ship', tool_call_id: 'c1', tool_input: ADDRESS, requires_approval: true }
    const events = await storedTrail(
      store,
      async (trail) =>
        trail.withSession({ session_id: 's1', user_id: ANNA.id, user_message: `To ${SECRET}` }, async (session) => {
          session.llmCall({
            input_messages: [{ role: 'user', content: `To ${SECRET}` }],
            output_text: null,
            reasoning: `She lives at ${SECRET}`,
            tool_calls_requested: [{ id: 'c1', name: 'ship', input: ADDRESS }],
          })
          const request = await session.requestApproval(call)
          const approval = await trail.decideApproval(request, { ...KIM, approval_status: 'approved' })
          await session.guard(call, () => `sent to ${SECRET}`, { approval })
          const again = await session.requestApproval({ ...call, tool_call_id: 'c2' })
          const yes = await trail.decideApproval(again, { ...KIM, approval_status: 'approved' })
          const fail = (): never => {
            throw new Error(`no such street: ${SECRET}`)
          }
          await session.guard({ ...call, tool_call_id: 'c2' }, fail, { approval: yes }).catch(() => undefined)
          await session.guard({ ...call, tool_call_id: 'c3' }, fail, { check: deny }).catch(() => undefined)
        }),
      { encryption: { keys: keys.options }, change: asStored },
    )
    const id = events.find(({ event_type }) => event_type === 'tool_call')?.event_id ?? ''
    const env = of(store.server)
    const read = async (more: readonly string[]) => {
      const commands = [
        ['trail', 's1'],
        ['trail', 's1', '--json'],
        ['trail', 's1', '--full'],
        ['why', id],
        ...['json', 'csv', 'table'].map((format) => ['query', 'session-trail', '-p', 'session=s1', '-f', format]),
        ['query', 'data-touched', '-p', `user=${ANNA.id}`, '-f', 'json'],
        ...['approvals', 'near-misses', 'not-taken'].map((name) => ['query', name, '-f', 'json']),
      ]
      const answers = await Promise.all(commands.map((args) => run([...args, ...more], env)))
      expect(answers.map(({ code, err }) => [code, err])).toEqual(commands.map(() => [0, '']))
      return answers.map(({ out }) => out)
    }
    for (const out of await read([])) {
      expect(out).not.toContain(SECRET)
      expect(out).toContain('[encrypted]')
    }
    for (const out of await read(keysOf(keys))) {
      expect(out).toContain(SECRET)
      expect(out).not.toContain('[encrypted')
    }
    // Why an action was taken is answered as without encryption: origins of arguments, and equal digests.
    const [, , , clear = ''] = await read(keysOf(keys))
    const words = clear.replaceAll(/\n[│ ]*(?![├└])/g, ' ')
    expect(words).toContain('it asked for exactly this call')
    expect(words).toContain('approved and recorded arguments are equal')
    const erased = await run(['erase', '--subject', ANNA.id, ...WHY, ...keysOf(keys)], {
      AUDIT_DATA_DIR: makeTempDirectory(),
    })
    expect(erased.code).toBe(0)
    for (const out of await read(keysOf(keys))) {
      expect(out).not.toContain(SECRET)
      expect(out).toContain('[erased]')
    }
  })
})
