/** What a trail with encryption records, and what of it is read with the keys. */
import { renameSync } from 'node:fs'
import type { AuditSession } from '@agent-audit/producer'
import { createTestTrail, type TestEvent, type TestTrail, type TestTrailOptions } from '@agent-audit/producer/testing'
import { type EncryptedRow, FieldReader, type FileKeyStore } from '@agent-audit/erasure'
import { type Approval, JSON_FIELDS, NEWEST_SCHEMA } from '@agent-audit/schemas'
import { generateKey, readApproval } from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { ANNA, newStore } from '../../erasure/support.ts'
import { KIM, payment, yes } from '../guard/approval-support.ts'
import { sha256 } from '../support.ts'

const SECRET = 'Anna Muster, Lindenweg 4'
const SESSION = { session_id: 's1', user_id: ANNA.id } as const

/** Every type of text that can be encrypted. */
function recordAll(session: AuditSession): void {
  session.userMessage({ message: SECRET })
  session.llmCall({
    input_messages: [{ role: 'user', content: SECRET }],
    output_text: SECRET,
    reasoning: SECRET,
    tool_calls_requested: [{ id: 'c', name: 'ship', input: { to: SECRET } }],
  })
  session.toolCall({ tool_name: 'ship', tool_call_id: 'c', tool_input: { to: SECRET } })
  session.toolResult({ tool_name: 'ship', tool_call_id: 'c', tool_output: { shipped_to: SECRET }, untrusted: true })
  session.error(new Error(SECRET))
  session.finalOutput({ output_text: SECRET })
}

function recorded(options: TestTrailOptions, work: (session: AuditSession) => void = recordAll): readonly TestEvent[] {
  const trail = createTestTrail(options)
  work(trail.startSession(SESSION))
  return trail.events().filter(({ session_id: id }) => id === SESSION.session_id)
}

/** The events as a reader of the store sees them. */
function revealed(events: readonly TestEvent[], keys?: FileKeyStore): Record<string, unknown>[] {
  const reader = new FieldReader(keys)
  return events.map((event) => {
    const row: EncryptedRow = { ...event }
    for (const name of JSON_FIELDS) if (row[name] !== null) row[name] = JSON.stringify(row[name])
    reader.reveal(row)
    for (const name of JSON_FIELDS) if (row[name] !== null) row[name] = JSON.parse(row[name] as string)
    return row
  })
}

/** What two runs of the same work have in common. */
function contentOf({
  event_type,
  reasoning,
  output_text,
  input_messages,
  tool_calls_requested,
  tool_input,
  error,
  content,
}: Record<string, unknown>) {
  return { event_type, reasoning, output_text, input_messages, tool_calls_requested, tool_input, error, content }
}

function textsOf(rows: Record<string, unknown>[]): unknown[] {
  return [rows[1]?.['content'], rows[2]?.['output_text'], rows[3]?.['tool_input']]
}

function opening(encryption: unknown): () => void {
  return () => void createTestTrail({ encryption: encryption as never })
}

function optionsIn(trail: TestTrail): Record<string, unknown> {
  const content = trail.events({ event_type: 'trail_started' })[0]?.content
  return (content as { options: Record<string, unknown> }).options
}

describe('encryption', () => {
  it('leaves no clear text in an event, and a reader with the keys gets every text back', () => {
    const { options: keys, store } = newStore()
    const events = recorded({ encryption: { keys } })
    expect(JSON.stringify(events)).not.toMatch(/Muster|Lindenweg/)
    expect(revealed(events, store).map(contentOf)).toEqual(recorded({}).map((event) => contentOf({ ...event })))
    const result = revealed(events, store).find(({ event_type }) => event_type === 'tool_result')
    expect(JSON.parse(result?.['tool_output'] as string)).toEqual({ shipped_to: SECRET })
  })

  it('covers each field that holds content by the schema, unless fields names others', () => {
    const { options: keys } = newStore()
    const holding = NEWEST_SCHEMA.fields.filter(({ holds }) => holds === 'content').map(({ name }) => name)
    const noted = new Set(
      recorded({ encryption: { keys } }).flatMap(({ field_notes }) => Object.keys(field_notes ?? {})),
    )
    expect([...noted].filter((name) => name !== 'arguments_sha256').toSorted()).toEqual(holding.toSorted())
    const [, message, llm] = recorded({ encryption: { keys, fields: ['output_text'] } })
    expect(message?.content).toEqual({ message: SECRET })
    expect(llm?.output_text).toMatch(/^enc:v1:/)
  })

  it('shows erased once the key is destroyed, and encrypted to a reader without keys', () => {
    const { options: keys, store } = newStore()
    const events = recorded({ encryption: { keys } })
    expect(textsOf(revealed(events))).toEqual([{ encrypted: '[encrypted]' }, '[encrypted]', '[encrypted]'])
    store.erase(ANNA)
    expect(textsOf(revealed(events, store))).toEqual([{ encrypted: '[erased]' }, '[erased]', '[erased]'])
  })

  it('keeps what machines read of an event in clear', () => {
    const { options: keys } = newStore()
    const result = recorded({ encryption: { keys } }).find(({ event_type }) => event_type === 'tool_result')
    expect(result?.content).toEqual({ encrypted: expect.stringMatching(/^enc:v1:/) as unknown, untrusted: true })
  })

  it('records no plain digest of an encrypted text: equal arguments have equal digests all the same', () => {
    const { options: keys } = newStore()
    const call = { tool_name: 'ship', tool_input: { to: 'x' } }
    const [, first, second] = recorded({ encryption: { keys } }, (session) => {
      session.toolCall(call)
      session.toolCall(call)
    })
    const [, plain] = recorded({}, (session) => session.toolCall(call))
    expect(plain?.arguments_sha256).toBe(sha256('{"to":"x"}'))
    expect(first?.arguments_sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(first?.arguments_sha256).not.toBe(plain?.arguments_sha256)
    expect(second?.arguments_sha256).toBe(first?.arguments_sha256)
  })

  it('lets approvals bind to the clear arguments, and the record shows that they fit', async () => {
    const { options: keys } = newStore()
    const trail = createTestTrail({ encryption: { keys } })
    const session = trail.startSession(SESSION)
    const request = await session.requestApproval(payment)
    expect(request.tool_input).toEqual(payment.tool_input)
    const approval = await trail.decideApproval(request, yes)
    expect(await session.guard(payment, ({ eur }) => eur, { approval })).toBe(1200)
    await expect(
      session.guard({ ...payment, tool_input: { to: 'DE02', eur: 9 } }, () => 0, { approval }),
    ).rejects.toMatchObject({ code: 'APPROVAL_ALTERED' })
    const override = await session.override(payment, { ...KIM, reason: 'known payee' })
    await session.guard(payment, () => 0, { override })
    session.end()
    expect(trail.problems()).toEqual([])
    expect(trail.events({ event_type: 'approval_request' })[0]?.content).toMatchObject({
      expires_at: expect.stringMatching(/^\d{4}-/) as unknown,
    })
  })

  it('records no plain digest in an approval either: neither of what was shown, nor within its signature', async () => {
    const { options: keys, store } = newStore()
    const trail = createTestTrail({ encryption: { keys }, approvalSigning: { key: generateKey('kim') } })
    const session = trail.startSession(SESSION)
    const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
    await session.guard(payment, () => 0, { approval })
    const override = await session.override(payment, { ...KIM, reason: 'known payee' })
    await session.guard(payment, () => 0, { override })
    session.end()
    const plain = approval.approval.shown_sha256 ?? ''
    expect(plain).toBe(approval.arguments_sha256)
    const events = trail.events().filter((event) => event.approval !== null)
    expect(events.map(({ event_type: type }) => type)).toEqual([
      'approval_decision',
      'tool_call',
      'human_intervention',
      'tool_call',
    ])
    expect(JSON.stringify(trail.events())).not.toContain(plain)
    expect(JSON.stringify(events)).not.toContain('audit-approval/v1')
    // The digest of what was shown still is that of what ran.
    const [decision, call] = events
    expect(decision?.approval).toMatchObject({ shown_sha256: call?.arguments_sha256 })
    for (const event of revealed(events, store)) {
      expect(readApproval((event['approval'] as Approval).signature ?? '').approval.argumentsSha256).toBe(plain)
    }
    expect(JSON.stringify(revealed(events))).toContain('"signature":"[encrypted]"')
    store.erase(ANNA)
    expect(JSON.stringify(revealed(events, store))).toContain('"signature":"[erased]"')
    expect(trail.problems()).toEqual([])
  })

  it('redacts first: what redaction removes is not in the encrypted text either', () => {
    const { options: keys, store } = newStore()
    const events = recorded({ encryption: { keys } }, (session) => {
      session.finalOutput({ output_text: 'password: hunter2hunter2' })
    })
    expect(revealed(events, store).at(-1)?.['output_text']).toBe('password: [redacted:key]')
  })

  it('cuts to size before it encrypts: the record fits, its clear text is a beginning, and no digest of it stays', () => {
    const { options: keys, store } = newStore()
    const text = 'ä'.repeat(20_000)
    const events = recorded({ encryption: { keys }, maxRecordBytes: 4096 }, (session) => {
      session.toolResult({ tool_name: 'read', tool_call_id: 'c', tool_output: text })
    })
    const result = events.at(-1)
    const { tool_output } = result ?? {}
    expect(Buffer.byteLength(tool_output as string)).toBeLessThan(4096)
    const clear = revealed(events, store).at(-1)?.['tool_output'] as string
    expect(clear.length).toBeGreaterThan(500)
    expect(text.startsWith(clear)).toBe(true)
    expect(result?.field_notes).toMatchObject({ tool_output: { encrypted: true, cut: { bytes: 40_000 } } })
    expect(JSON.stringify(result?.field_notes)).not.toContain('sha256":"')
  })

  it('records a pseudonym in the place of user_id, which a reader with the keys reads as the name', () => {
    const { options: keys, store } = newStore()
    const events = recorded({ encryption: { keys, fields: ['user_id'] } }, () => {})
    expect(events[0]?.user_id).toBe(`subject:${store.idOf(ANNA)}`)
    expect(revealed(events, store)[0]?.['user_id']).toBe(ANNA.id)
    store.erase(ANNA)
    expect(revealed(events, store)[0]?.['user_id']).toBe(`subject:${store.idOf(ANNA)}`)
  })

  it('takes the session for the subject where there is no user, and another one where subject says so', () => {
    const { options: keys, store } = newStore()
    const trail = createTestTrail({ encryption: { keys } })
    trail.startSession({ session_id: 'alone', user_message: SECRET })
    expect(store.erase({ kind: 'session', id: 'alone' }).done).toBe('erased')
    recorded({ encryption: { keys, subject: ({ user_id }) => `customer of ${user_id}` } })
    expect(store.erase(ANNA).done).toBe('unknown')
    expect(store.erase({ kind: 'user', id: `customer of ${ANNA.id}` }).done).toBe('erased')
  })

  it('leaves out what is recorded after an erasure, in a process that held the key', async () => {
    const { options: keys, store } = newStore()
    const trail = createTestTrail({ encryption: { keys } })
    const session = trail.startSession(SESSION)
    session.finalOutput({ output_text: SECRET })
    const { keyId } = store.erase(ANNA)
    const latest = () => {
      session.finalOutput({ output_text: SECRET })
      return trail.events({ event_type: 'final_output' }).at(-1)
    }
    await expect
      .poll(latest, { interval: 100 })
      .toMatchObject({ output_text: null, field_notes: { output_text: { erased: keyId } } })
    expect(JSON.stringify(trail.events())).not.toContain('Muster')
  })

  it('leaves a text out and says so, when the key cannot be had: never in clear', () => {
    const { options: keys } = newStore()
    const problems: string[] = []
    const trail = createTestTrail({ encryption: { keys }, onProblem: ({ code }) => problems.push(code) })
    renameSync(keys.directory, `${keys.directory}-away`)
    const session = trail.startSession(SESSION)
    session.finalOutput({ output_text: SECRET })
    renameSync(`${keys.directory}-away`, keys.directory)
    session.finalOutput({ output_text: 'later' })
    const [first, second] = trail.events({ event_type: 'final_output' })
    expect(first).toMatchObject({ output_text: null, field_notes: { output_text: { encryption_failed: true } } })
    expect(second?.output_text).toMatch(/^enc:v1:/)
    expect(problems).toContain('KEY_STORE_UNAVAILABLE')
  })

  it('names a wrong option', () => {
    const { options: keys } = newStore()
    expect(opening({ keys: { ...keys, kekFile: '/none' } })).toThrow(/encryption\.keys: \/none: cannot be read/)
    expect(opening({ keys, fields: ['event_id'] })).toThrow(/encryption\.fields/)
    expect(opening({ keys: {} })).toThrow(/encryption\.keys/)
  })

  it('names the fields among the options of the trail, and nothing where nothing is encrypted', () => {
    const { options: keys } = newStore()
    const trail = createTestTrail({ encryption: { keys }, redact: 'off' })
    expect(optionsIn(trail)['encryption']).toEqual({ fields: expect.any(Array) as unknown })
    expect(optionsIn(createTestTrail({ redact: 'off' }))).not.toHaveProperty('encryption')
  })
})
