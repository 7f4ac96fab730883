/**
 * What the choice of servers asks a Docker engine: whether it answers, and which images it has. It does so by requests of
 * its own: to load Testcontainers takes half a second, and most runs on a machine without an engine need only this answer.
 */
import { existsSync, readFileSync } from 'node:fs'
import { type IncomingMessage, request as httpRequest, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'

/** An engine on this machine answers in some milliseconds. One that does not is none, unless containers are asked for. */
const ANSWER_TIMEOUT_MS = 1000
/** One that has answered once gets more time on a busy machine. */
const LONG_TIMEOUT_MS = 20_000
/** A registry that cannot be reached has refused by then; a pull under way has answered. */
const PULL_ANSWER_TIMEOUT_MS = 30_000
const OK = 200
const NOT_FOUND = 404

export interface DockerEngine {
  /** For people: `unix:///var/run/docker.sock`. */
  readonly name: string
  /**
   * Those of the images that the engine does not have.
   * @throws Error if it does not say.
   */
  missing(images: readonly string[]): Promise<readonly string[]>
  /** Gets an image from its registry. @returns Why it could not; undefined if it could. */
  pull(image: string): Promise<string | undefined>
}

/**
 * The first engine that answers, of those at which Testcontainers looks.
 * @param patient - Whether to give a busy one time.
 */
export async function findEngine(patient: boolean): Promise<DockerEngine | undefined> {
  for (const name of addresses()) {
    const target = targetOf(name)
    if (target === undefined) continue
    const timeoutMs = patient ? LONG_TIMEOUT_MS : ANSWER_TIMEOUT_MS
    const { status } = await ask(target, { method: 'GET', path: '/_ping', timeoutMs })
    if (status === OK) return engineAt(name, target)
  }
  return undefined
}

function addresses(): string[] {
  const named = process.env['DOCKER_HOST']
  if (named) return [named]
  const runtimeDir = process.env['XDG_RUNTIME_DIR']
  const sockets = [
    '/var/run/docker.sock',
    ...(runtimeDir ? [join(runtimeDir, 'docker.sock')] : []),
    join(homedir(), '.docker/run/docker.sock'),
    join(homedir(), '.docker/desktop/docker.sock'),
    `/run/user/${userInfo().uid}/docker.sock`,
  ]
  return sockets.filter((path) => existsSync(path)).map((path) => `unix://${path}`)
}

/** undefined for an address that is none. */
function targetOf(address: string): RequestOptions | undefined {
  const url = URL.parse(address)
  if (url === null) return undefined
  if (url.hostname === '') return { socketPath: url.pathname }
  const folder = process.env['DOCKER_CERT_PATH']
  const target = { host: url.hostname, port: url.port }
  if (process.env['DOCKER_TLS_VERIFY'] !== '1' || folder === undefined) return target
  const [ca, cert, key] = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFileSync(join(folder, name)))
  return Object.assign(target, { protocol: 'https:', ca, cert, key })
}

function engineAt(name: string, target: RequestOptions): DockerEngine {
  const has = async (image: string): Promise<boolean> => {
    const path = `/images/${image}/json`
    const { status, text } = await ask(target, { method: 'GET', path, timeoutMs: LONG_TIMEOUT_MS })
    if (status === OK || status === NOT_FOUND) return status === OK
    throw new Error(`Docker at ${name} does not say whether it has ${image}: ${messageOf(text)}`)
  }
  return {
    name,
    async missing(images) {
      const found = await Promise.all(images.map(has))
      return images.filter((_, index) => found[index] === false)
    },
    async pull(image) {
      const path = `/images/create?fromImage=${encodeURIComponent(withTag(image))}`
      const { status, text } = await ask(target, { method: 'POST', path, timeoutMs: PULL_ANSWER_TIMEOUT_MS })
      // A pull that has begun answers 200, and names a failure in the last line of its progress.
      const failure = status === OK ? /"error":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] : messageOf(text)
      if (failure !== undefined) return failure
      return (await has(image)) ? undefined : 'the engine does not have it after the pull'
    },
  }
}

/** Without a tag or digest the engine would pull all tags. */
function withTag(image: string): string {
  return /[:@][^/]+$/.test(image) ? image : `${image}:latest`
}

function messageOf(text: string): string {
  return (/"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text).replaceAll('\\"', '"').trim()
}

interface Reply {
  /** 0: no answer. */
  readonly status: number
  readonly text: string
}

/** One request. An engine that does not answer, or in time, gives status 0 and the cause. */
async function ask(
  target: RequestOptions,
  { method, path, timeoutMs }: { readonly method: string; readonly path: string; readonly timeoutMs: number },
): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest
  const request = send({ ...target, method, path, agent: false }, resolve).on('error', reject)
  const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  request.end()
  try {
    const response = await promise
    clearTimeout(timer)
    let text = ''
    for await (const chunk of response.setEncoding('utf8')) text += chunk
    return { status: response.statusCode ?? 0, text }
  } catch (error) {
    return { status: 0, text: error instanceof Error ? error.message : String(error) }
  } finally {
    clearTimeout(timer)
  }
}
