/** `agent-audit signer` as agents use it: each test runs the real process. */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  connectSigner,
  type ConsumerSeal,
  formatConsumerSeal,
  formatProducerSeal,
  generateKey,
  noteHash,
  openKeyFile,
  parseNote,
  type ProducerSeal,
  type RemoteSigner,
  VerifierKey,
  verifyNote,
} from '@agent-audit/seals'
import { expect, it, onTestFinished } from 'vitest'
import { startSaying, type SayingChild } from './saying-program.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const COMMAND = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))
const RUN = '1'.repeat(32)

interface Installation {
  readonly folder: string
  readonly socket: string
  readonly key: string
}

function install(keyName = 'agent'): Installation {
  const directory = makeTempDirectory()
  const key = join(directory, 'key')
  writeFileSync(key, generateKey(keyName), { mode: 0o600 })
  return { folder: directory, socket: join(directory, 'run', 'signer.sock'), key }
}

async function start({ folder, socket, key }: Installation, ...more: string[]): Promise<SayingChild> {
  const child = startSigner({ folder, socket, key }, ...more)
  await child.said('signing as')
  return child
}

function startSigner({ folder, socket, key }: Installation, ...more: string[]): SayingChild {
  const options = ['--key', key, '--socket', socket, '--state', join(folder, 'state'), ...more]
  return startSaying(process.execPath, ['--conditions=agent-audit-source', COMMAND, 'signer', ...options])
}

async function connect(socket: string, timeoutMs = 20_000): Promise<RemoteSigner> {
  const signer = await connectSigner(socket, { timeoutMs })
  onTestFinished(() => signer.close())
  return signer
}

function seal(number: number, change: Partial<ProducerSeal> = {}): ProducerSeal {
  return {
    topic: 'audit.events',
    producerId: 'agent',
    runId: RUN,
    number,
    first: 10 * number,
    last: 10 * number + 9,
    count: 10,
    schema: '0'.repeat(16),
    digest: Buffer.alloc(32, 1),
    gaps: [],
    undelivered: [],
    prev: undefined,
    time: Date.now(),
    state: { kind: 'open' },
    ...change,
  }
}

function textOf(number: number, prev?: string, change: Partial<ProducerSeal> = {}): string {
  return formatProducerSeal(seal(number, { prev: prev === undefined ? undefined : noteHash(prev), ...change }))
}

it('signs the seals of a run one after the other, one a second, and each text once more if it is asked for again', async () => {
  const installation = install()
  await start(installation)
  const signer = await connect(installation.socket)
  const { key } = openKeyFile(installation.key)
  expect([signer.keyName, signer.vkey]).toEqual(['agent', key.vkey])
  const began = performance.now()
  const first = await signer.sign(textOf(0))
  const text = textOf(1, first)
  const second = await signer.sign(text)
  // Not as a figure: below a second the signer would have signed two within one.
  expect(performance.now() - began).toBeGreaterThan(990)
  expect(verifyNote(second, [key]).text).toBe(text)
  expect(await signer.sign(text)).toBe(second)
  const closing = textOf(2, second, { state: { kind: 'closed' } })
  expect(parseNote(await signer.sign(closing)).text).toBe(closing)
})

it('does not sign history again, whatever is asked for', async () => {
  const installation = install()
  const child = await start(installation)
  const signer = await connect(installation.socket)
  const first = await signer.sign(textOf(0))
  const second = await signer.sign(textOf(1, first))
  const forged = { digest: Buffer.alloc(32, 2) }
  const refused: [string, string][] = [
    [textOf(0, undefined, forged), 'expected number 2 and a range that begins at 20: the seals before are signed'],
    [textOf(1, first, forged), 'expected number 2 and a range that begins at 20: the seals before are signed'],
    [textOf(1, first, { time: 1 }), 'the seals before are signed'],
    [textOf(2, second, { first: 15, last: 29, count: 15 }), 'the seals before are signed'],
    [
      textOf(3, second, { first: 20, last: 29 }),
      'expected number 2 and a range that begins at 20: it must touch the last',
    ],
    [textOf(2, second, { first: 21, count: 9 }), 'it must touch the last'],
    [textOf(2, first), 'expected the hash of the seal before it in the line prev'],
    [
      textOf(0, undefined, { runId: '2'.repeat(32), first: 5, count: 5 }),
      'expected number 0 and a range that begins at 0',
    ],
    [textOf(1, first, { runId: '2'.repeat(32) }), 'expected number 0 and a range that begins at 0'],
    [textOf(2, second, { producerId: 'other' }), 'expected the producer agent'],
    [
      textOf(2, second).replace('count 10', 'count 11'),
      'producer seal: expected "count 10", the range without its gaps',
    ],
    ['anything else\n', 'producer seal, line 1: expected "audit-seal/v1 producer"'],
    [`audit-rotation/v1\nkey ${signer.vkey}\n`, 'producer seal, line 1: expected "audit-seal/v1 producer"'],
  ]
  for (const [text, message] of refused) {
    await expect(signer.sign(text)).rejects.toThrow(
      expect.objectContaining({ code: 'SIGNER_REFUSED', message: expect.stringContaining(message) }),
    )
  }
  await child.said('refused to sign: run 11111111111111111111111111111111: expected number 2')
  // The chain goes on with what was signed.
  const third = await signer.sign(textOf(2, second))
  // Who lost an answer is given what was signed.
  await expect(signer.sign(textOf(2, second, { time: 1 }))).rejects.toMatchObject({ signed: third })
})

function rangeOf(first: number, last: number, before?: string, change: Partial<ConsumerSeal> = {}): string {
  const rows = { count: 1, digest: Buffer.alloc(32, 1) }
  const prev = before === undefined ? undefined : createHash('sha256').update(before).digest()
  const range = { logId: '0'.repeat(16), topic: 'audit.events', partition: 0, first, last }
  return formatConsumerSeal({ ...range, rows: 1, events: rows, skipped: { ...rows, count: 0 }, prev, ...change })
}

it('for a consumer it signs the ranges of a partition in order, each once, and nothing else', async () => {
  const installation = install('consumer-1')
  const child = await start(installation, '--role', 'consumer')
  const signer = await connect(installation.socket)
  // All partitions of a topic at once.
  for (let partition = 1; partition < 40; partition++) await signer.sign(rangeOf(0, 9, undefined, { partition }))
  // A chain may begin anywhere: another consumer may have sealed what is below.
  const first = rangeOf(100, 199, 'the seal of another consumer')
  const note = await signer.sign(first)
  expect(verifyNote(note, [openKeyFile(installation.key).key]).text).toBe(first)
  expect(await signer.sign(first)).toBe(note)
  const other = { count: 1, digest: Buffer.alloc(32, 2) }
  const refused: [string, string][] = [
    [rangeOf(100, 199, 'the seal of another consumer', { events: other }), 'the offsets below are sealed'],
    [rangeOf(150, 299, first), 'partition audit.events/0: expected a range that begins at 200 or above'],
    [rangeOf(0, 99), 'the offsets below are sealed'],
    [rangeOf(200, 299, 'another text'), 'expected the hash of the text of the seal before it in the line prev'],
    [textOf(0, undefined, { producerId: 'consumer-1' }), 'consumer seal, line 1: expected "audit-seal/v1 consumer"'],
  ]
  for (const [text, message] of refused) {
    await expect(signer.sign(text)).rejects.toThrow(
      expect.objectContaining({ code: 'SIGNER_REFUSED', message: expect.stringContaining(message) }),
    )
  }
  await child.kill('SIGKILL')
  await start(installation, '--role', 'consumer')
  await expect(signer.sign(rangeOf(100, 199))).rejects.toThrow('the offsets below are sealed')
  const second = rangeOf(200, 299, first)
  expect(parseNote(await signer.sign(second)).text).toBe(second)
  // Others have sealed 300 to 399; and a chain begins anew.
  expect(await signer.sign(rangeOf(400, 499, 'the seal of another consumer'))).toContain('range 400 499')
  expect(await signer.sign(rangeOf(500, 599))).toContain('prev none')
})

it('for producers it signs no seal of a consumer', async () => {
  const installation = install()
  await start(installation)
  const signer = await connect(installation.socket)
  await expect(signer.sign(rangeOf(0, 9))).rejects.toThrow('producer seal, line 1: expected "audit-seal/v1 producer"')
})

it('a process that holds the socket, over many connections: one signature a second and run, and one seal for each range', async () => {
  const installation = install()
  await start(installation)
  const clients = await Promise.all(Array.from({ length: 4 }, () => connect(installation.socket)))
  const began = performance.now()
  const [first] = await Promise.all(clients.map((client) => client.sign(textOf(0, undefined, { time: 1 }))))
  const histories = clients.map((client, index) => {
    return client.sign(textOf(1, first, { digest: Buffer.alloc(32, index) }))
  })
  const outcomes = await Promise.allSettled(histories)
  expect(performance.now() - began).toBeGreaterThan(990)
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
  expect(refused).toMatchObject(Array.from({ length: 3 }, () => ({ code: 'SIGNER_REFUSED' })))
})

it('an adopted tail is signed for another producer too, and its run is signed no further by itself', async () => {
  const installation = install()
  await start(installation)
  const signer = await connect(installation.socket)
  const first = await signer.sign(textOf(0))
  const state = { kind: 'adopted', by: '3'.repeat(32) } as const
  const tail = await signer.sign(textOf(1, first, { state }))
  await expect(signer.sign(textOf(2, tail))).rejects.toThrow('expected no further seal of its own: the run is adopted')
  const foreign = textOf(7, first, { runId: '4'.repeat(32), producerId: 'other', state })
  expect(parseNote(await signer.sign(foreign)).text).toBe(foreign)
  await expect(signer.sign(textOf(7, tail, { runId: '4'.repeat(32), producerId: 'other', state }))).rejects.toThrow(
    'are signed',
  )
})

it('lets one new run begin a second', async () => {
  const installation = install()
  await start(installation)
  const [one, other] = [await connect(installation.socket), await connect(installation.socket)]
  const began = performance.now()
  await Promise.all([one.sign(textOf(0)), other.sign(textOf(0, undefined, { runId: '2'.repeat(32) }))])
  expect(performance.now() - began).toBeGreaterThan(990)
})

it('asks again for a text whose answer was lost with the signer', async () => {
  const installation = install()
  const child = await start(installation)
  const signer = await connect(installation.socket)
  // It takes the text no more, and does not say so.
  await child.kill('SIGSTOP')
  const text = textOf(0)
  const note = signer.sign(text)
  await child.kill('SIGKILL')
  await start(installation)
  expect(parseNote(await note).text).toBe(text)
})

it('knows after a kill what it has signed, and clients connect again', async () => {
  const installation = install()
  const child = await start(installation)
  const signer = await connect(installation.socket)
  const text = textOf(0)
  const first = await signer.sign(text)
  await child.kill('SIGKILL')
  // Asked for while no signer is there.
  const waiting = signer.sign(text)
  await start(installation)
  expect(await waiting).toBe(first)
  await expect(signer.sign(textOf(0, undefined, { time: 1 }))).rejects.toThrow('the seals before are signed')
  expect(parseNote(await signer.sign(textOf(1, first))).text).toContain('number 1\n')
})

it('goes on with the state of the old key after a rotation', async () => {
  const installation = install()
  const child = await start(installation)
  const signer = await connect(installation.socket)
  const first = await signer.sign(textOf(0))
  const old = signer.vkey
  await child.kill('SIGTERM')
  expect(await child.exited()).toMatchObject({ code: 0 })
  const key = join(installation.folder, 'next')
  writeFileSync(key, generateKey('agent'), { mode: 0o600 })
  await start({ ...installation, key })
  await expect(signer.sign(textOf(0, undefined, { time: 1 }))).rejects.toThrow('the seals before are signed')
  const second = await signer.sign(textOf(1, first))
  expect(signer.vkey).not.toBe(old)
  expect(verifyNote(second, [VerifierKey.parse(signer.vkey)]).text).toContain('number 1\n')
})

it('says that the clock of a producer differs, and signs', async () => {
  const installation = install()
  const child = await start(installation)
  const signer = await connect(installation.socket)
  expect(await signer.sign(textOf(0, undefined, { time: Date.now() - 3_600_000 }))).toContain('number 0\n')
  await child.said(`run ${RUN}, seal 0: its time is -3600 s from the signer's clock`)
})

it('is for its owner alone, or for the group of the folder', async () => {
  const installation = install()
  const folder = join(installation.folder, 'run')
  const child = await start(installation)
  expect([statSync(folder).mode & 0o777, statSync(installation.socket).mode & 0o777]).toEqual([0o700, 0o600])
  expect(statSync(join(installation.folder, 'state')).mode & 0o777).toBe(0o600)
  await child.kill('SIGTERM')
  await child.exited()
  expect(existsSync(installation.socket)).toBe(false)
  chmodSync(folder, 0o750)
  const refused = startSigner(installation)
  expect(await refused.exited()).toMatchObject({ code: 64 })
  expect(refused.text()).toContain(`${folder}: expected mode 0700, found 0750: others could reach the socket`)
  await start(installation, '--group')
  expect(statSync(installation.socket).mode & 0o777).toBe(0o660)
})

it('a second signer on the socket, or on the state, is refused', async () => {
  const installation = install()
  await start(installation)
  const second = startSigner(installation)
  expect(await second.exited()).toMatchObject({ code: 3 })
  expect(second.text()).toMatch(/another signer listens there|cannot open the signer's state .*locked/)
  const elsewhere = startSigner({ ...installation, socket: join(installation.folder, 'other', 'signer.sock') })
  expect(await elsewhere.exited()).toMatchObject({ code: 3 })
  expect(elsewhere.text()).toContain("cannot open the signer's state")
})

it('the state of another key is refused, and so is a file that is none', async () => {
  const installation = install()
  const child = await start(installation)
  await child.kill('SIGTERM')
  await child.exited()
  writeFileSync(installation.key, generateKey('other'), { mode: 0o600 })
  const other = startSigner(installation)
  expect(await other.exited()).toMatchObject({ code: 1 })
  expect(other.text()).toContain('expected the state of the key "other", found the state of the key "agent"')
  writeFileSync(join(installation.folder, 'state'), 'no database at all, but long enough to have a header of one')
  const broken = startSigner(installation)
  expect(await broken.exited()).toMatchObject({ code: 3 })
  expect(broken.text()).toContain("cannot open the signer's state")
})

it('a client without a signer says so, and what it met', async () => {
  const { folder, socket } = install()
  await expect(connectSigner(socket, { timeoutMs: 200 })).rejects.toMatchObject({
    code: 'SIGNER_UNAVAILABLE',
    message: `the signer at ${socket}: no answer within 0.2 s (ENOENT)`,
    retryable: true,
  })
  mkdirSync(join(folder, 'run'))
  const silent = createServer().listen(socket)
  onTestFinished(() => void silent.close())
  await expect(connectSigner(socket, { timeoutMs: 200 })).rejects.toMatchObject({ code: 'SIGNER_UNAVAILABLE' })
  silent.on('connection', (connection) => connection.write('HTTP/1.1 200 OK\n'))
  await expect(connectSigner(socket, { timeoutMs: 5_000 })).rejects.toMatchObject({
    code: 'SIGNER_REFUSED',
    message: expect.stringContaining(
      'expected a signer, which greets with "audit-signer/v1 <vkey>", found "HTTP/1.1 200 OK"',
    ),
  })
})

it('a client that is closed rejects what is under way', async () => {
  const installation = install()
  const child = await start(installation)
  const signer = await connect(installation.socket)
  await child.kill('SIGKILL')
  const waiting = signer.sign(textOf(0))
  signer.close()
  await expect(waiting).rejects.toMatchObject({
    code: 'SIGNER_UNAVAILABLE',
    message: expect.stringContaining('closed'),
  })
})
