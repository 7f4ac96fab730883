/** What the notary has kept outside of the database is what `agent-audit verify` holds the seal log against. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { type CheckpointSink, FileSink, S3Sink } from '@agent-audit/notary'
import { expect, it } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { NO_VERSITYGW, REGION, runS3 } from '../support/versitygw.ts'
import { newSigner, openSealTopic, producerNote, runNotary } from './support.ts'

const store = await openStore()
const signer = newSigner('notary-1')
const producer = newSigner('agent')
const notes = Array.from({ length: 9 }, (_, number) => producerNote(producer, number))

interface Place {
  readonly sink: CheckpointSink
  /** For --checkpoints. */
  readonly checkpoints: string
  readonly env: Record<string, string>
}

function fileSink(): Promise<Place> {
  const path = join(makeTempDirectory(), 'checkpoints')
  return Promise.resolve({ sink: new FileSink({ path }), checkpoints: path, env: {} })
}

async function bucket(): Promise<Place> {
  const { endpoint, credentials } = await runS3()
  const { accessKeyId, secretAccessKey } = credentials()
  const secret = join(makeTempDirectory(), 'secret')
  writeFileSync(secret, `${secretAccessKey}\n`)
  return {
    sink: new S3Sink({ bucket: 'locked', prefix: 'a/', retentionDays: 1, region: REGION, endpoint, credentials }),
    checkpoints: 's3://locked/a/',
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY_FILE: secret, AWS_ENDPOINT_URL_S3: endpoint },
  }
}

const PLACES: [string, () => Promise<Place>, boolean][] = [
  ['a file', fileSink, false],
  [`a bucket ${NO_VERSITYGW}`, bucket, NO_VERSITYGW !== ''],
]

for (const [name, make, isMissing] of PLACES) {
  it.skipIf(isMissing)(`verify reads checkpoints from ${name}`, async () => {
    const { sink, checkpoints, env } = await make()
    const topic = openSealTopic()
    const origin = `trail.example/${name.split(' ')[1]}`
    topic.append(notes)
    const running = runNotary(store, { source: topic.source(), signer, origin, sinks: [sink] })
    await expect.poll(() => running.delivered.at(-1)).toBe(9)
    await running.stop()
    const trust = join(makeTempDirectory(), 'trust.txt')
    const keys = [`key ${signer.vkey} notary`, `key ${producer.vkey} producer`]
    const lines = ['audit-trust/v1', ...keys.map((key) => `${key} 2020-01-01T00:00:00.000Z -`), `origin ${origin}`]
    writeFileSync(trust, `${lines.join('\n')}\n`)
    const verify = async (): Promise<unknown> => {
      const { url, username, password, database } = store.dataDir.reader
      const server = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
      let out = ''
      let err = ''
      await runCli(['verify', '--json', '--trust', trust, '--checkpoints', checkpoints], {
        out: (text) => (out += text),
        err: (text) => (err += text),
        env: { ...server, CLICKHOUSE_DATABASE: database, ...env },
        colors: false,
      })
      expect(err).toBe('')
      return (JSON.parse(out) as { seals: unknown }).seals
    }
    expect(await verify()).toMatchObject({ anchored_outside: 9 })
  })
}
