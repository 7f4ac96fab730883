/** Checkpoints in a bucket of a real S3 with Object Lock: nothing there can be taken back, and an S3 that is away stops nothing. */
import { runCli } from '@agent-audit/cli'
import { S3Sink, type S3SinkOptions, type SignedCheckpoint } from '@agent-audit/notary'
import { generateKey, leafHash, MerkleTree, signCheckpoint } from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { NO_VERSITYGW, REGION, runS3, type S3Server } from '../support/versitygw.ts'
import {
  MemorySink,
  newSigner,
  openSealTopic,
  producerNote,
  runNotary,
  type Running,
  type SealTopic,
} from './support.ts'

const DAY_MS = 86_400_000
const ORIGIN = 'trail.example/seals'
const signer = newSigner('notary-1')
const producer = newSigner('agent')
const notes = Array.from({ length: 40 }, (_, number) => producerNote(producer, number))
const store = await openStore()

function checkpointOf(size: number): SignedCheckpoint {
  const tree = new MerkleTree()
  for (const note of notes.slice(0, size)) tree.append(leafHash(note))
  const checkpoint = { origin: ORIGIN, size, root: tree.root() }
  return { ...checkpoint, seconds: 1_795_000_000, note: signCheckpoint(signer, checkpoint, 1_795_000_000) }
}

function sinkOf({ endpoint, credentials }: S3Server, more: Partial<S3SinkOptions> = {}): S3Sink {
  const own = { bucket: 'locked', prefix: 'audit/', retentionDays: 30, pauseMs: 0 }
  return new S3Sink({ ...own, region: REGION, endpoint, credentials, ...more })
}

interface Version {
  readonly key: string
  readonly id: string
}

/** The first version that a list has. */
async function firstOf(s3: S3Server): Promise<Version> {
  const { text } = await s3.admin('GET', 'locked?versions=')
  const [, version = ''] = /<Version>(.*?)<\/Version>/s.exec(text) ?? []
  const [, key = ''] = /<Key>(.*?)<\/Key>/.exec(version) ?? []
  const [, id = ''] = /<VersionId>(.*?)<\/VersionId>/.exec(version) ?? []
  return { key, id }
}

const retention = (mode: string, days: number): string =>
  `<Retention><Mode>${mode}</Mode><RetainUntilDate>${new Date(Date.now() + days * DAY_MS).toISOString()}</RetainUntilDate></Retention>`

describe.skipIf(NO_VERSITYGW !== '')(`a bucket with Object Lock ${NO_VERSITYGW}`, () => {
  it('gives the largest checkpoints first, whatever their order was, also behind a deletion marker', async () => {
    const s3 = await runS3()
    const sink = sinkOf(s3)
    expect(await sink.newest()).toEqual([])
    for (const size of [1, 9, 12, 10, 12]) await sink.put(checkpointOf(size))
    const expected = [12, 12, 10, 9].map((size) => checkpointOf(size).note)
    expect(await sink.newest()).toEqual(expected)
    const { key: newest } = await firstOf(s3)
    expect(newest).toBe('audit/9999999999999988-12')
    expect((await s3.admin('DELETE', `locked/${newest}`)).status).toBe(204)
    expect((await s3.admin('GET', `locked/${newest}`)).status).toBe(404)
    expect(await sinkOf(s3).newest()).toEqual(expected)
    // Of another log below another prefix.
    expect(await sinkOf(s3, { prefix: 'other/log-2_of.' }).newest()).toEqual([])
    await sinkOf(s3, { prefix: 'other/log-2_of.' }).put(checkpointOf(3))
    expect(await sinkOf(s3, { prefix: 'other/log-2_of.' }).newest()).toEqual([checkpointOf(3).note])
    expect(await sink.newest()).toEqual(expected)
  })

  it('lets its admin remove, shorten or downgrade nothing', async () => {
    const s3 = await runS3()
    const sink = sinkOf(s3)
    await sink.put(checkpointOf(5))
    const { key, id } = await firstOf(s3)
    const version = `locked/${key}?versionId=${id}`
    const bypass = { 'x-amz-bypass-governance-retention': 'true' }
    const many = `<Delete><Object><Key>${key}</Key><VersionId>${id}</VersionId></Object></Delete>`
    const ofRetention = `locked/${key}?retention=&versionId=${id}`
    const tries: [string, string, string, Record<string, string>?, string?][] = [
      ['remove', 'DELETE', version],
      ['remove, with the bypass of governance', 'DELETE', version, bypass],
      ['shorten', 'PUT', ofRetention, bypass, retention('COMPLIANCE', 1)],
      ['downgrade', 'PUT', ofRetention, bypass, retention('GOVERNANCE', 30)],
      ['downgrade and lengthen', 'PUT', ofRetention, bypass, retention('GOVERNANCE', 60)],
    ]
    for (const [what, method, path, headers, body] of tries) {
      expect([what, (await s3.admin(method, path, headers, body)).status]).toEqual([what, 403])
    }
    const removed = await s3.admin('POST', 'locked?delete=', bypass, many)
    expect(removed.text).toMatch(/AccessDenied|ObjectLocked/)
    expect(removed.text).not.toContain('<Deleted>')
    // Another object under its key is a version beside it.
    expect((await s3.admin('PUT', `locked/${key}`, {}, 'nothing')).status).toBe(200)
    expect(await sink.newest()).toEqual([checkpointOf(5).note])
    expect((await s3.admin('PUT', ofRetention, {}, retention('COMPLIANCE', 60))).status).toBe(200)
  })

  it('is read past objects that are no checkpoint of the size in their key', async () => {
    const s3 = await runS3()
    // More than one page of a list.
    const others = Array.from({ length: 120 }, (_, number) => `locked/audit/0&<'${number}`)
    for (const other of others) expect((await s3.admin('PUT', other, {}, 'other')).status).toBe(200)
    const sink = sinkOf(s3)
    expect(await sink.newest()).toEqual([])
    const put = (size: number, text: string): Promise<unknown> =>
      s3.admin('PUT', `locked/audit/${String(10n ** 16n - BigInt(size)).padStart(16, '0')}-${size}`, {}, text)
    // An old checkpoint, as if it were the newest one.
    await put(1000, checkpointOf(2).note)
    await expect(sink.newest()).rejects.toMatchObject({ code: 'SEAL_LOG_CHANGED' })
    await sink.put(checkpointOf(7))
    await put(1001, 'no checkpoint')
    expect(await sink.newest()).toEqual([checkpointOf(7).note])
  })

  it.each<[string, Partial<S3SinkOptions>, RegExp]>([
    ['a bucket that is not there', { bucket: 'elsewhere' }, /^s3:\/\/elsewhere\/audit\/: there is no such bucket /],
    ['a bucket without Object Lock', { bucket: 'plain' }, /^s3:\/\/plain\/audit\/: the bucket does not lock objects/],
    [
      'a wrong key',
      { credentials: () => ({ accessKeyId: 'notary', secretAccessKey: 'y' }) },
      /expected a right AWS_ACCESS_KEY_ID/,
    ],
    ['another region', { region: 'eu-central-1' }, /expected the region of the bucket in AWS_REGION/],
  ])('%s is refused at the start, beside a sink that is fit', async (_, more, message) => {
    const s3 = await runS3()
    const topic = openSealTopic()
    topic.append(notes.slice(0, 3))
    const running = run(topic, [sinkOf(s3, more), new MemorySink()])
    expect(await running.failure).toMatchObject({ code: 'OPTIONS_INVALID', message: expect.stringMatching(message) })
    expect(running.signed).toEqual([])
  })

  it('stops nothing while it is away, and has the newest checkpoint when it is back', async () => {
    const [s3, topic, memory] = [await runS3(), openSealTopic(), new MemorySink()]
    const sink = sinkOf(s3)
    topic.append(notes.slice(0, 3))
    const running = run(topic, [sink, memory])
    await expect.poll(() => sink.newest()).toHaveLength(1)
    await s3.stop()
    topic.append(notes.slice(3, 7))
    await expect.poll(() => memory.size).toBe(7)
    await expect.poll(() => running.sinks.at(-1)).toMatch(/^waits s3:\/\/locked\/audit\/: .*ECONNREFUSED/)
    topic.append(notes.slice(7, 12))
    await expect.poll(() => memory.size).toBe(12)
    await s3.start()
    await expect.poll(() => running.sinks.at(-1)).toBe('goes on s3://locked/audit/')
    expect(await sink.newest()).toEqual([12, 3].map((size) => expect.stringMatching(`^${ORIGIN}\n${size}\n`)))
    await running.stop()

    // Away at the start: compared before its first delivery.
    await s3.stop()
    const again = run(topic, [sinkOf(s3), memory])
    topic.append(notes.slice(12, 20))
    await expect.poll(() => memory.size).toBe(20)
    await s3.start()
    await expect.poll(() => again.sinks.at(-1)).toBe('goes on s3://locked/audit/')
    expect((await sink.newest())[0]).toMatch(`${ORIGIN}\n20\n`)
  })

  it('finds a log that was rolled back', async () => {
    const [s3, topic] = [await runS3(), openSealTopic()]
    topic.append(notes.slice(0, 9))
    const first = run(topic, [sinkOf(s3)])
    await expect.poll(() => sinkOf(s3).newest()).toHaveLength(1)
    await first.stop()
    const { key } = await firstOf(s3)
    await s3.admin('DELETE', `locked/${key}`)
    const shorter = openSealTopic()
    shorter.append(notes.slice(0, 4))
    expect(await run(shorter, [sinkOf(s3)]).failure).toMatchObject({
      code: 'SEAL_LOG_CHANGED',
      message: expect.stringMatching(/^s3:\/\/locked\/audit\/ has a checkpoint of 9 leaves/),
    })
  })
})

it.each([
  [['--s3', 's3://locked/audit/'], {}, /--s3: expected --s3-retention-days beside it/],
  [['--s3', 'https://x', '--s3-retention-days', '9'], {}, /https:\/\/x: expected s3:\/\/BUCKET\/PREFIX/],
  [['--s3', 's3://locked/audit/', '--s3-retention-days', '9'], {}, /AWS_ACCESS_KEY_ID: .*; AWS_SECRET_ACCESS_KEY: /],
  [
    ['--s3', 's3://b-1', '--s3-retention-days', '9'],
    { AWS_ENDPOINT_URL_S3: 'x:y' },
    /AWS_ENDPOINT_URL_S3: expected a URL/,
  ],
])('%j is wrong use', async (args, env: Record<string, string>, message) => {
  let err = ''
  const terminal = { out: () => undefined, err: (text: string) => (err += text), colors: false }
  const key = { AUDIT_SIGNING_KEY: generateKey('notary-1') }
  expect(await runCli(['notary', ...args], { ...terminal, env: { ...key, ...env } })).toBe(64)
  expect(err).toMatch(message)
})

function run(topic: SealTopic, sinks: NonNullable<Parameters<typeof runNotary>[1]['sinks']>): Running {
  return runNotary(store, { source: topic.source(), signer, origin: ORIGIN, sinks })
}
