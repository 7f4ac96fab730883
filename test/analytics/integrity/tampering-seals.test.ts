/**
 * Tampering with the seals of a real trail, with its seal log and with keys, by an administrator of ClickHouse, by a consumer and by
 * a notary; and what the command says of it.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import {
  formatTrust,
  generateKey,
  parseConsumerSeal,
  parseNote,
  signerFromPem,
  verifyCheckpoint,
} from '@agent-audit/seals'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it } from 'vitest'
import { checkpointsOf, signedBy } from '../../support/seal-log.ts'
import { rowAt } from './change.ts'
import { Copies, type SealLog } from './copies.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`

const isOf = (note: string, role: 'producer' | 'consumer'): boolean => note.startsWith(`audit-seal/v1 ${role}\n`)

describe.skipIf(!kafka.available)(`the seals of a trail ${MISSING}`, { timeout: 300_000 }, async () => {
  if (!kafka.available) return
  const copies = await Copies.open()
  const after = copies.after.bind(copies)

  it('rows and their seals are removed: found by the checkpoint', async () => {
    const trail = await copies.trail()
    const report = await after([
      `ALTER TABLE {db}.audit_events DELETE WHERE log_offset > 100`,
      `ALTER TABLE {db}.audit_seals DELETE WHERE leaf_index >= ${trail.notes.length - 4}`,
      `TRUNCATE TABLE {db}.audit_checkpoints`,
    ])
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'log-cut', leaf: trail.notes.length - 4 }))
  })

  it('a seal is taken out of the middle, or exchanged: found by the tree', async () => {
    const trail = await copies.trail()
    const out = await after([`ALTER TABLE {db}.audit_seals DELETE WHERE leaf_index = 2`])
    expect(out.findings).toContainEqual(expect.objectContaining({ code: 'leaf-missing', leaf: 2 }))
    const fork = [...trail.notes.slice(0, -1), trail.notes[0] ?? '']
    const exchanged = await after([], { seals: { notes: fork } })
    expect(exchanged.verdict).toBe('tampering')
    expect(exchanged.findings).toContainEqual(expect.objectContaining({ code: 'log-forked', leaf: fork.length - 1 }))
  })

  it('a consumer with its key stores another record: the producer has sealed its own', async () => {
    const trail = await copies.trail()
    // Without the consumer's seals, the rows are found by the producer's alone.
    const notes = trail.notes.filter((note) => !isOf(note, 'consumer'))
    const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
    const change = `ALTER TABLE {db}.audit_events UPDATE reasoning = 'x' WHERE reasoning = 'a 30'`
    const report = await after([change], { seals: { notes, checkpoints }, checkpoints })
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'records-changed', producer_id: 'agent' }))
  })

  it('a consumer with its key fills a field that the record of an older version has not: the producer has not sealed it', async () => {
    const trail = await copies.trail()
    const notes = trail.notes.filter((note) => !isOf(note, 'consumer'))
    const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
    const where = `producer_id = 'foreign' AND run_seq = 0`
    const row = await rowAt(copies, where)
    const report = await after([`ALTER TABLE {db}.audit_events UPDATE policy = '{}' WHERE ${where}`], {
      seals: { notes, checkpoints },
      checkpoints,
    })
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'records-changed', run_id: row.run, first_run_seq: 0 }),
    )
  })

  it.each([
    ['another key of its name', 'producer', 'agent', 'key-foreign'],
    ["another producer's key", 'killed', 'agent', 'key-foreign'],
    ["a consumer's key", 'consumer', 'agent', 'key-foreign'],
    ['another key of its name', 'stranger', 'consumer', 'key-foreign'],
    ["a producer's key", 'killed', 'consumer', 'key-missing'],
  ] as const)('a seal is signed again by %s (%s, as %s): found, with the leaf', async (_, by, of, code) => {
    const trail = await copies.trail()
    const signer = by === 'killed' || by === 'consumer' ? trail[by] : signerFromPem(generateKey(of))
    // Of `agent`, a seal of its own run: it has sealed the killed one's tail too, which any producer may.
    const at = trail.notes.findIndex((note) => note.includes(`\n— ${of} `) && !note.includes('state adopted'))
    const notes = trail.notes.with(at, signedBy(trail.notes[at] ?? '', signer))
    const own = checkpointsOf(notes, [notes.length], trail.notary)
    const report = await after([], { seals: { notes, checkpoints: own }, checkpoints: own })
    expect(report.findings).toContainEqual(expect.objectContaining({ code, leaf: at }))
    expect(report.verdict).not.toBe('verified')
    // The checkpoint that was kept outside holds the true one.
    const outside = await after([], { seals: { notes } })
    expect(outside.verdict).toBe('tampering')
  })

  it('a byte of a signature is changed', async () => {
    const trail = await copies.trail()
    const at = trail.notes.findIndex((note) => isOf(note, 'producer'))
    const note = trail.notes[at] ?? ''
    const end = note.length - 12
    const changed = `${note.slice(0, end)}${note[end] === 'A' ? 'B' : 'A'}${note.slice(end + 1)}`
    const notes = trail.notes.with(at, changed)
    const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
    const report = await after([], { seals: { notes, checkpoints }, checkpoints })
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'signature-wrong', leaf: at }))
  })

  it.each(['producer', 'consumer'] as const)(
    'a seal of a %s is taken out of its chain, and the notary signs the log without it',
    async (role) => {
      const trail = await copies.trail()
      const [first = -1] = trail.notes.flatMap((note, index) => (isOf(note, role) ? [index] : []))
      const notes = trail.notes.toSpliced(first, 1)
      const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
      const report = await after([], { seals: { notes, checkpoints }, checkpoints })
      expect(report.verdict).toBe('tampering')
      expect(report.findings).toContainEqual(
        expect.objectContaining({ code: 'seal-missing', leaf: expect.any(Number) }),
      )
    },
  )

  it('a stolen key signs a second seal of a number, and a successor that continues another one', async () => {
    const trail = await copies.trail()
    const of = (number: number): number =>
      trail.notes.findIndex((note) => note.includes('producer agent\n') && note.includes(`\nnumber ${number}\n`))
    const [first, second] = [of(0), of(1)]
    const changed = (at: number, change: (text: string) => string): string =>
      signedBy(change(trail.notes[at] ?? ''), trail.producer)
    const later = changed(first, (text) => text.replace(/^time 2/m, 'time 3'))
    for (const [notes, code, leaf] of [
      [[...trail.notes, later], 'seal-forked', trail.notes.length],
      [trail.notes.with(first, later), 'seal-out-of-chain', second],
    ] as const) {
      const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
      const report = await after([], { seals: { notes, checkpoints }, checkpoints })
      expect(report.verdict).toBe('tampering')
      expect(report.findings).toContainEqual(expect.objectContaining({ code, leaf, producer_id: 'agent' }))
    }
  })

  it.each([
    ['agent', { revoked: 1000 }, { code: 'key-out-of-time', producer_id: 'agent' }],
    ['agent', { notAfter: 1000 }, { code: 'key-out-of-time', producer_id: 'agent' }],
    ['killed', { notBefore: Date.UTC(2999, 0) }, { code: 'key-out-of-time', producer_id: 'killed' }],
    ['consumer', { notAfter: 1000 }, { code: 'key-out-of-time', partition: 0 }],
    ['notary', { notBefore: Date.UTC(2999, 0) }, { code: 'checkpoint-invalid' }],
  ])('the key of %s is used outside of its time (%o)', async (name, window, expected) => {
    const trail = await copies.trail()
    const keys = trail.trust.keys.map((each) => (each.key.name === name ? { ...each, ...window } : each))
    const report = await after([], { trust: { keys } })
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining(expected))
  })

  it('a key is revoked: what a checkpoint held before stands, what came later does not', async () => {
    const trail = await copies.trail()
    const sizes = trail.checkpoints.map((note) => Number(note.split('\n')[1]))
    const [last = ''] = trail.checkpoints.slice(-1)
    const { seconds = 0 } = verifyCheckpoint(last, { log: [trail.notary.key], witnesses: [] })
    const keys = trail.trust.keys.map((each) => ({
      ...each,
      revoked: each.role === 'notary' ? undefined : seconds * 1000,
    }))
    const report = await after([], { trust: { keys } })
    expect(report.verdict).toBe('tampering')
    const leaves = report.findings.filter(({ code }) => code === 'key-out-of-time').map(({ leaf }) => leaf)
    expect(leaves).toEqual(Array.from({ length: (sizes[2] ?? 0) - (sizes[1] ?? 0) }, (_, at) => (sizes[1] ?? 0) + at))
  })

  it('the notary forks the log: the checkpoint that was kept outside has another root', async () => {
    const trail = await copies.trail()
    const [one = '', other = ''] = trail.notes.slice(-2)
    const notes = [...trail.notes.slice(0, -2), other, one]
    const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
    const report = await after([], { seals: { notes, checkpoints } })
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(
      expect.objectContaining({
        code: 'log-forked',
        leaf: notes.length - 1,
        message: expect.stringContaining('outside'),
      }),
    )
  })

  it('all tables go back to an old state: the newer checkpoint that was kept outside finds it', async () => {
    const trail = await copies.trail()
    const old = Number(trail.checkpoints[1]?.split('\n')[1])
    const seals = { notes: trail.notes.slice(0, old), checkpoints: trail.checkpoints.slice(0, 2) }
    const sealed = seals.notes
      .filter((note) => isOf(note, 'consumer'))
      .map((note) => parseConsumerSeal(parseNote(note).text))
    const statements = [0, 1].flatMap((partition) => {
      const end = Math.max(-1, ...sealed.filter((seal) => seal.partition === partition).map(({ last }) => last))
      const newer = `log_partition = ${partition} AND log_offset > ${end}`
      return ['audit_events', 'audit_skipped'].map((table) => `ALTER TABLE {db}.${table} DELETE WHERE ${newer}`)
    })
    const report = await after(statements, { seals })
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'log-cut', leaf: old }))
    // To an older checkpoint alone, the old state is a whole one.
    expect((await after(statements, { seals, checkpoints: seals.checkpoints })).counts.tampering).toBe(0)
  })

  it('a producer that the trust file expects has never sealed: incomplete, with its name', async () => {
    const report = await after([], { trust: { producers: ['agent', 'absent'] } })
    expect(report.verdict).toBe('incomplete')
    expect(report.findings).toEqual([expect.objectContaining({ code: 'producer-silent', producer_id: 'absent' })])
  })

  it('rows are removed, and a consumer with its key and the notary seal what is left: the producers miss their records', async () => {
    const trail = await copies.trail()
    const notes = trail.notes.filter((note) => !isOf(note, 'consumer'))
    const checkpoints = checkpointsOf(notes, [notes.length], trail.notary)
    const { run, seq } = await rowAt(copies, `reasoning = 'b 7'`)
    const report = await after([`ALTER TABLE {db}.audit_events DELETE WHERE reasoning = 'b 7'`], {
      seals: { notes, checkpoints },
      checkpoints,
    })
    expect(report.verdict).toBe('incomplete')
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'records-missing', run_id: run, first_run_seq: seq, last_run_seq: seq }),
    )
  })

  it('a key or every checkpoint is missing: could not check, with its name', async () => {
    const trail = await copies.trail()
    const keys = trail.trust.keys.filter(({ role }) => role !== 'consumer')
    const without = await after([], { trust: { keys } })
    expect(without.verdict).toBe('unchecked')
    expect(without.findings[0]).toMatchObject({ code: 'key-missing', message: expect.stringContaining('consumer') })
    const alone = await after([], { seals: { checkpoints: [] }, checkpoints: [] })
    expect(alone).toMatchObject({ verdict: 'unchecked', tier: 'none' })
    expect(alone.findings).toEqual([expect.objectContaining({ code: 'checkpoint-missing' })])
  })

  it('the command: exit codes, places and --json', async () => {
    const trail = await copies.trail()
    const trust = join(copies.directory, 'trust.txt')
    writeFileSync(trust, formatTrust(trail.trust))
    const run = async (seals: SealLog, statements: readonly string[], args: readonly string[] = []) => {
      const { database } = await copies.bench(seals)
      for (const statement of statements) await copies.run(statement, database)
      const outside = join(copies.directory, `${database}.checkpoints`)
      writeFileSync(outside, (seals.checkpoints ?? trail.checkpoints).join('\n'))
      const { url, username, password } = copies.store.dataDir.admin
      const server = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
      let [out, err] = ['', '']
      const terminal = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
      const env = { ...server, CLICKHOUSE_DATABASE: database, AUDIT_TRUST_FILE: trust, AUDIT_CHECKPOINTS_FILE: outside }
      const code = await runCli(['verify', ...args], { ...terminal, env, colors: false })
      return { code, out, err }
    }
    const good = await run({}, [])
    expect(good).toMatchObject({ code: 0, err: '' })
    expect(good.out).toMatch(/^VERIFIED {2}[\d,]+ events.*tier outside: .*not checked:\n/s)
    const bad = await run({}, [`ALTER TABLE {db}.audit_events DELETE WHERE session_id = 'session b'`], ['--json'])
    expect(bad.code).toBe(1)
    expect(JSON.parse(bad.out)).toMatchObject({ verdict: 'tampering', tier: 'outside', trust_signature: 'none' })
    // The last seal of a consumer has not arrived yet.
    const late = trail.notes.findLastIndex((note) => isOf(note, 'consumer'))
    const notes = trail.notes.toSpliced(late, 1)
    const log = { notes, checkpoints: checkpointsOf(notes, [notes.length], trail.notary) }
    const unsealed = await run(log, [], ['--settle', '0'])
    expect(unsealed.code).toBe(2)
    expect(unsealed.out).toMatch(
      /^INCOMPLETE.*incomplete rows-unsealed: log [0-9a-f]{16} partition \d, offsets \d+\.\.\d+: /s,
    )
    const older = await run({ checkpoints: [] }, [])
    expect(older.code).toBe(3)
    expect(older.out).toMatch(/^COULD NOT CHECK.*checkpoint-missing: no checkpoint of seals\.test\/trail/s)
    expect((await run({}, [], ['--completeness'])).out).toMatch(/^COMPLETE/)
    const one = await run({}, [], ['--partition', '1'])
    expect(one).toMatchObject({ code: 0, out: expect.stringContaining('other partitions') })
    expect(await run({}, [], ['--partition', '9'])).toMatchObject({
      code: 64,
      out: '',
      err: expect.stringMatching(/no such partition/),
    })
    const changed = `ALTER TABLE {db}.audit_events UPDATE reasoning = 'x' WHERE log_partition = 1 AND log_offset = 5`
    expect((await run({}, [changed], ['--partition', '1'])).code).toBe(1)
    expect((await run({}, [changed], ['--partition', '0'])).code).toBe(0)
  })
})
