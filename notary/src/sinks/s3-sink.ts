/**
 * A bucket of S3 with Object Lock: an object for each checkpoint, in mode COMPLIANCE, which nobody, the owner of the account
 * included, can remove, replace or give an earlier date before its date has come.
 *
 * A key is `<prefix><10^16 less the size, 16 digits>-<size>`, so that a list has the largest checkpoint first. The object is the
 * note, as a text: any S3 client reads it. Readers look at all versions, since a deletion marker hides an object from a plain list.
 */
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { parseCheckpoint, parseNote } from '@agent-audit/seals'
import { changed, type SignedCheckpoint } from '../seal-tables.ts'
import { codeOf, describe, S3Bucket, type S3Answer, type S3BucketOptions, type S3Version } from './s3-bucket.ts'
import type { CheckpointSink } from './sink.ts'

export interface S3SinkOptions extends S3BucketOptions {
  /** Before the keys, such as `audit/`: one for each log. Of `A-Z a-z 0-9 _ . - /`. */
  readonly prefix: string
  /** How long an object cannot be removed, days. Without it the sink only reads. */
  readonly retentionDays?: number | undefined
  /** Between two objects, milliseconds: each of them is a request, and stays. @defaultValue 10000 */
  readonly pauseMs?: number | undefined
}

const PAUSE_MS = 10_000
const DAY_MS = 86_400_000
const TOP = 10n ** 16n
/** Checkpoints that {@link S3Sink.newest} gives: one that no known key has signed hides none below it. */
const KEPT = 4
/** Objects that it looks at: a writer of the bucket could put others before them. */
const MOST_LOOKED_AT = 256
const PASSING = new Set([408, 429])

export class S3Sink implements CheckpointSink {
  readonly name: string
  readonly pauseMs: number
  readonly #options: S3SinkOptions
  readonly #bucket: S3Bucket
  #isFit = false

  constructor(options: S3SinkOptions) {
    if (!/^[\w./-]*$/.test(options.prefix)) {
      throw new InvalidInputError('OPTIONS_INVALID', `s3://${options.bucket}: prefix: expected A-Z a-z 0-9 _ . - /`)
    }
    this.#options = options
    this.#bucket = new S3Bucket(options)
    this.name = `${this.#bucket.name}/${options.prefix}`
    this.pauseMs = options.pauseMs ?? PAUSE_MS
  }

  /**
   * The bucket is there and locks objects: asked until it is known, not again after.
   * @throws InvalidInputError `OPTIONS_INVALID` if not
   */
  async #expectLock(): Promise<void> {
    if (this.#isFit) return
    const answer = await this.#bucket.send({ method: 'GET', query: { 'object-lock': '' } })
    const { status, text } = answer
    if (status === 200 && text.includes('<ObjectLockEnabled>Enabled</ObjectLockEnabled>')) {
      this.#isFit = true
      return
    }
    if ((status >= 500 && status !== 501) || PASSING.has(status)) throw this.#bucket.away(answer, 'its Object Lock')
    throw new InvalidInputError('OPTIONS_INVALID', `${this.name}: ${faultOf(answer)} (${describe(answer)})`)
  }

  async newest(): Promise<string[]> {
    await this.#expectLock()
    const { prefix } = this.#options
    const notes: string[] = []
    let looked = 0
    for await (const version of this.#bucket.versions(prefix)) {
      const size = sizeOfKey(version.key.slice(prefix.length))
      if (size === undefined) continue
      looked += 1
      const note = await this.#read(version)
      // One of another size stands in front of larger ones.
      if (sizeOfNote(note) === size && notes.push(note) === KEPT) return notes
      if (looked === MOST_LOOKED_AT) {
        throw changed(`${this.name}: the first ${looked} objects are not the checkpoints that their keys say`)
      }
    }
    if (looked > 0 && notes.length === 0) throw changed(`${this.name}: none of its ${looked} objects is a checkpoint`)
    return notes
  }

  async #read({ key, id }: S3Version): Promise<string> {
    const answer = await this.#bucket.send({ method: 'GET', key, query: { versionId: id } })
    if (answer.status !== 200) throw this.#bucket.away(answer, key)
    return answer.text
  }

  async put({ note, size }: SignedCheckpoint): Promise<void> {
    const { prefix, retentionDays } = this.#options
    if (retentionDays === undefined) throw new Error(`${this.name}: only read`)
    await this.#expectLock()
    const key = `${prefix}${String(TOP - BigInt(size)).padStart(16, '0')}-${size}`
    const until = `${new Date(Date.now() + retentionDays * DAY_MS).toISOString().slice(0, 19)}Z`
    const answer = await this.#bucket.send({
      method: 'PUT',
      key,
      headers: {
        'content-type': 'text/plain; charset=utf-8',
        'x-amz-object-lock-mode': 'COMPLIANCE',
        'x-amz-object-lock-retain-until-date': until,
      },
      body: Buffer.from(note),
    })
    if (answer.status !== 200) throw this.#bucket.away(answer, key)
    await this.#expectLocked({ key, id: answer.headers.get('x-amz-version-id') ?? '' }, until)
  }

  /** A server may take the headers and do nothing. */
  async #expectLocked({ key, id }: S3Version, until: string): Promise<void> {
    const answer = await this.#bucket.send({ method: 'HEAD', key, query: id === '' ? {} : { versionId: id } })
    if (answer.status !== 200) throw this.#bucket.away(answer, key)
    const [mode, date] = ['mode', 'retain-until-date'].map((name) => answer.headers.get(`x-amz-object-lock-${name}`))
    if (mode === 'COMPLIANCE' && Date.parse(date ?? '') >= Date.parse(until)) return
    const found = `mode ${mode ?? 'none'}, until ${date ?? 'none'}`
    throw new AuditUnavailableError(
      'SINK_UNAVAILABLE',
      `${this.name}: ${key}: expected mode COMPLIANCE until ${until}, found ${found}`,
    )
  }
}

function faultOf(answer: S3Answer): string {
  switch (codeOf(answer)) {
    case 'NoSuchBucket':
      return 'there is no such bucket'
    case 'ObjectLockConfigurationNotFoundError':
      return 'the bucket does not lock objects: expected one with Object Lock'
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
      return 'expected a right AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY'
    case 'AccessDenied':
      return 'expected the rights that docs/integrity.md lists'
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
      return 'expected the region of the bucket in AWS_REGION'
    default:
      return 'expected a bucket with Object Lock'
  }
}

/** Of the part behind the prefix; undefined: it is not a key of this sink. */
function sizeOfKey(key: string): number | undefined {
  const [, rest = '', size = ''] = /^(\d{16})-([1-9]\d{0,15})$/.exec(key) ?? []
  return size !== '' && TOP - BigInt(size) === BigInt(rest) ? Number(size) : undefined
}

function sizeOfNote(note: string): number | undefined {
  try {
    return parseCheckpoint(parseNote(note).text).size
  } catch {
    return undefined
  }
}
