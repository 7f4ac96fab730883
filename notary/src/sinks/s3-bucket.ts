/** Requests to one bucket of S3, signed by AWS Signature Version 4: those that the sink needs. */
import { createHash } from 'node:crypto'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { AwsClient } from 'aws4fetch'

/** As the credential providers of the AWS SDK give them. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

export interface S3BucketOptions {
  readonly bucket: string
  readonly region: string
  /** Of an S3 that is not of AWS, such as `https://s3.example:9000`: the bucket's name stands in its path. */
  readonly endpoint?: string | undefined
  /** Asked before each request: credentials may be short-lived. */
  readonly credentials: () => S3Credentials | Promise<S3Credentials>
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT'
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

export interface S3Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** A version of an object. */
export interface S3Version {
  readonly key: string
  readonly id: string
}

const TIMEOUT_MS = 10_000
const LISTED = 100

export class S3Bucket {
  readonly name: string
  readonly #options: S3BucketOptions
  readonly #base: string

  constructor(options: S3BucketOptions) {
    const { bucket, region, endpoint } = options
    this.#options = options
    this.name = `s3://${bucket}`
    // A name with a dot has no certificate of its own.
    const isHost = endpoint === undefined && !bucket.includes('.')
    const server = endpoint?.replace(/\/*$/, '') ?? `https://s3.${region}.amazonaws.com`
    this.#base = isHost ? `https://${bucket}.s3.${region}.amazonaws.com` : `${server}/${bucket}`
  }

  /** @throws AuditUnavailableError `SINK_UNAVAILABLE` without an answer */
  async send({ method, key = '', query = {}, headers = {}, body }: S3Request): Promise<S3Answer> {
    const url = new URL(`${this.#base}/${key.split('/').map(encodeURIComponent).join('/')}`)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    const sha256 = createHash('sha256').update(body ?? '')
    const sums = { 'x-amz-content-sha256': sha256.copy().digest('hex') }
    // An upload with a retention must have one.
    const checksum = body === undefined ? {} : { 'x-amz-checksum-sha256': sha256.digest('base64') }
    try {
      const { region, credentials } = this.#options
      const { sessionToken, ...keys } = await credentials()
      const session = sessionToken === undefined ? {} : { sessionToken }
      const client = new AwsClient({ ...keys, ...session, service: 's3', region, retries: 0 })
      const response = await client.fetch(url, {
        method,
        headers: { ...headers, ...sums, ...checksum },
        body: body === undefined ? null : new Uint8Array(body),
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      return { status: response.status, headers: response.headers, text: await response.text() }
    } catch (error) {
      const { cause } = error as { cause?: unknown }
      const why = String(cause instanceof Error ? cause.message : error)
      throw new AuditUnavailableError('SINK_UNAVAILABLE', `${this.name} at ${url.host}: ${why}`, { cause: error })
    }
  }

  /** All versions of the objects below `prefix`, by ascending key, the newest of a key first. Deletion markers are none. */
  async *versions(prefix: string): AsyncGenerator<S3Version, void, undefined> {
    let from: Record<string, string> = {}
    do {
      const query = { versions: '', prefix, 'max-keys': String(LISTED), ...from }
      const answer = await this.send({ method: 'GET', query })
      if (answer.status !== 200) throw this.away(answer, 'the list of versions')
      for (const [, version = ''] of answer.text.matchAll(/<Version>(.*?)<\/Version>/gs)) {
        yield { key: tag(version, 'Key'), id: tag(version, 'VersionId') }
      }
      if (tag(answer.text, 'IsTruncated') !== 'true') return
      from = {
        'key-marker': tag(answer.text, 'NextKeyMarker'),
        'version-id-marker': tag(answer.text, 'NextVersionIdMarker'),
      }
    } while (from['key-marker'])
  }

  away(answer: S3Answer, what: string): AuditUnavailableError {
    return new AuditUnavailableError('SINK_UNAVAILABLE', `${this.name}: ${what}: ${describe(answer)}`)
  }
}

/** The code of an error, such as `NoSuchBucket`. */
export function codeOf({ text }: S3Answer): string {
  return tag(text, 'Code')
}

export function describe(answer: S3Answer): string {
  const said = [codeOf(answer), tag(answer.text, 'Message')].filter((part) => part !== '').join(': ')
  return said === '' ? `answer ${answer.status}` : `answer ${answer.status}, ${said.slice(0, 300)}`
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** The content of the first element of that name. */
function tag(xml: string, name: string): string {
  const [, text = ''] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? []
  return text.replaceAll(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (whole, decimal?: string, hex?: string, entity = '') => {
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    return Number.isNaN(code) ? (ENTITIES[entity] ?? whole) : String.fromCodePoint(code)
  })
}
