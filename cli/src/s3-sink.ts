/** A bucket of S3 as the place of checkpoints, from its URL and the environment: the notary writes there, `verify` reads. */
import type { S3Credentials, S3Sink, S3SinkOptions } from '@agent-audit/notary'
import { InvalidInputError, type Issue, readSecret, urlFault } from '@agent-audit/schemas'
import { readOrThrow } from './connect.ts'
import { printable } from './render/text.ts'
import type { Terminal } from './terminal.ts'

export const S3_HELP = `S3: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (or …_FILE each, read again for each request),
AWS_ENDPOINT_URL_S3 for an S3 that is not of AWS.`

export function isS3(url: string): boolean {
  return url.startsWith('s3://')
}

/**
 * @param url - `s3://<bucket>/<prefix>`
 * @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong variable
 */
export async function openS3(
  url: string,
  env: Terminal['env'],
  more: Pick<S3SinkOptions, 'retentionDays' | 'pauseMs'> = {},
): Promise<S3Sink> {
  const [, bucket = '', prefix = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(url) ?? []
  if (bucket === '') {
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      `${printable(url)}: expected s3://BUCKET/PREFIX, such as s3://audit/seals/`,
    )
  }
  const region = env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || 'us-east-1'
  const endpoint = env['AWS_ENDPOINT_URL_S3'] || env['AWS_ENDPOINT_URL'] || undefined
  const credentials = (): S3Credentials => readOrThrow((issues) => readCredentials(env, issues))
  const fault = endpoint === undefined ? undefined : urlFault(endpoint)
  if (fault !== undefined) throw new InvalidInputError('OPTIONS_INVALID', `AWS_ENDPOINT_URL_S3: ${fault}`)
  credentials()
  const notary = await import('@agent-audit/notary')
  return new notary.S3Sink({ bucket, prefix, region, endpoint, credentials, ...more })
}

function readCredentials(env: Terminal['env'], issues: Issue[]): S3Credentials {
  const required = (name: string): string => {
    const before = issues.length
    const value = readSecret(env, name, issues)
    if (value === undefined && issues.length === before) {
      issues.push({ path: name, expected: `expected a value, or a file in ${name}_FILE` })
    }
    return value ?? ''
  }
  return {
    accessKeyId: required('AWS_ACCESS_KEY_ID'),
    secretAccessKey: required('AWS_SECRET_ACCESS_KEY'),
    sessionToken: readSecret(env, 'AWS_SESSION_TOKEN', issues),
  }
}
