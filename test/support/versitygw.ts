/** A real S3 with Object Lock: versitygw, a program in Go. AUDIT_VERSITYGW has its path, or it is on PATH, or where Go installs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { accessSync, constants, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { S3Credentials } from '@agent-audit/notary'
import { AwsClient } from 'aws4fetch'
import { onTestFinished } from 'vitest'
import { freePort } from './free-port.ts'
import { makeTempDirectory } from './temp-directory.ts'
import { until } from './wait.ts'

export const REGION = 'us-east-1'
const CREDENTIALS = { accessKeyId: 'notary', secretAccessKey: 'a-secret-of-the-notary' }
const HOW = "'go install github.com/versity/versitygw/cmd/versitygw@latest' builds it, or AUDIT_VERSITYGW=<its path>"

/** Undefined: there is none here. @throws Error for an AUDIT_VERSITYGW that is no program */
export function findVersitygw(): string | undefined {
  const { AUDIT_VERSITYGW: given, PATH = '', GOBIN, GOPATH = join(homedir(), 'go') } = process.env
  if (given) {
    accessSync(given, constants.X_OK)
    return given
  }
  const folders = [...PATH.split(':'), GOBIN ?? join(GOPATH, 'bin')]
  return folders.map((folder) => join(folder, 'versitygw')).find((path) => isProgram(path))
}

/** For the title of a test that is skipped: says so, and what to do. */
export const NO_VERSITYGW: string = findVersitygw() === undefined ? `no versitygw: ${HOW}` : ''
if (NO_VERSITYGW !== '') process.stderr.write(`SKIPPED: tests on a real S3 with Object Lock: ${NO_VERSITYGW}\n`)

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export interface S3Server {
  readonly endpoint: string
  readonly credentials: () => S3Credentials
  /** What an admin of the server asks for. */
  admin(
    method: string,
    path: string,
    headers?: Record<string, string>,
    body?: string,
  ): Promise<{ status: number; text: string }>
  /** Kills it. */
  stop(): Promise<void>
  /** Starts it again, at its port and on its data. */
  start(): Promise<void>
}

/** Runs until the test has finished. Buckets: `locked`, with Object Lock, and `plain`, without. */
export async function runS3(): Promise<S3Server> {
  const [directory, port] = [makeTempDirectory(), await freePort()]
  const [root, versions] = [join(directory, 'root'), join(directory, 'versions')]
  mkdirSync(root)
  mkdirSync(versions)
  const endpoint = `http://127.0.0.1:${port}`
  const aws = new AwsClient({ ...CREDENTIALS, service: 's3', region: REGION, retries: 0 })
  let child: ChildProcess | undefined
  const admin: S3Server['admin'] = async (method, path, headers = {}, body?) => {
    const sums = body === undefined ? {} : { 'content-md5': createHash('md5').update(body).digest('base64') }
    const signal = AbortSignal.timeout(10_000)
    const response = await aws.fetch(`${endpoint}/${path}`, {
      method,
      headers: { ...headers, ...sums },
      body: body ?? null,
      signal,
    })
    return { status: response.status, text: await response.text() }
  }
  const isUp = async (): Promise<true | undefined> =>
    (await admin('GET', '').catch(() => undefined))?.status === 200 || undefined
  const start = async (): Promise<void> => {
    const args = ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', '--versioning-dir', versions, root]
    const env = { ROOT_ACCESS_KEY: CREDENTIALS.accessKeyId, ROOT_SECRET_KEY: CREDENTIALS.secretAccessKey }
    child = spawn(findVersitygw() ?? '', args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
    await until('versitygw answers', isUp)
  }
  const stop = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  onTestFinished(stop)
  await start()
  await admin('PUT', 'locked', { 'x-amz-bucket-object-lock-enabled': 'true' })
  await admin('PUT', 'plain')
  return { endpoint, credentials: () => CREDENTIALS, admin, stop, start }
}
