/** A client of the Confluent Schema Registry API: it registers the record's schema and finds schemas by id. */
import type { Agent } from 'node:https'
import { z } from 'zod'
import { fingerprintOf, type SchemaVersion } from './avro-schema.ts'
import { type Environment, urlFault } from '../environment.ts'
import { AuditUnavailableError, IntegrityError, InvalidInputError, type Issue, type TrailError } from '../errors.ts'
import {
  type ClientTls,
  httpsAgent,
  openSecret,
  readTlsEnvironment,
  type Secret,
  takeSecret,
  tlsFault,
} from '../tls.ts'

const REQUEST_TIMEOUT_MS = 10_000
const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json'

const registeredAnswer = z.object({ id: z.int().min(0) })
const schemaAnswer = z.object({ schema: z.string(), schemaType: z.string().optional() })
const errorAnswer = z.object({ error_code: z.number().optional(), message: z.string() })

export interface SchemaRegistry {
  /** Registers a version under `<topic>-value` and returns its id; a version that is registered already keeps its id. */
  register(topic: string, version: SchemaVersion): Promise<number>
  /**
   * Fingerprint of the schema with this id, or undefined if the registry has no such schema, or one that refers to others. A
   * fingerprint is cached, since ids never change; an unknown id is asked again, since it may be registered later.
   */
  fingerprintOfId(id: number): Promise<bigint | undefined>
}

/** How the registry knows a client, and the client the registry. */
export interface RegistryAccess {
  /** Basic authentication; with Confluent Cloud an API key and its secret. */
  readonly username?: string | undefined
  /** Never recorded, logged or quoted. */
  readonly password?: Secret | undefined
  /** Of an https URL. */
  readonly ssl?: ClientTls | undefined
}

export type RegistryConnection = RegistryAccess & {
  /** Root of the API, such as `http://localhost:8081` or `…/apis/ccompat/v7`. */
  readonly url: string
}

const PREFIX = 'SCHEMA_REGISTRY'

/** Reads SCHEMA_REGISTRY_USERNAME, _PASSWORD and SCHEMA_REGISTRY_SSL_*. Problems are added to `issues`. */
export function readRegistryAccess(env: Environment, issues: Issue[]): RegistryAccess {
  const [name, secretName] = [`${PREFIX}_USERNAME`, `${PREFIX}_PASSWORD`] as const
  const [username, password] = [env[name] || undefined, takeSecret(env, secretName, issues)]
  if ((username === undefined) === Boolean(env[secretName] || env[`${secretName}_FILE`])) {
    const [path, other] = username === undefined ? [name, secretName] : [secretName, name]
    issues.push({ path, expected: `expected together with ${other}` })
  }
  return { username, password, ssl: readTlsEnvironment(env, PREFIX, issues) }
}

/**
 * @throws InvalidInputError `OPTIONS_INVALID` if the URL is none, has a user or a password, or is http beside certificates.
 * All methods throw AuditUnavailableError `REGISTRY_UNAVAILABLE` naming the address, IntegrityError
 * `ACCESS_DENIED` or `TLS_REFUSED`, or InvalidInputError `SCHEMA_UNKNOWN` with the registry's message if it refuses the schema.
 */
export function createSchemaRegistry({ url, ...access }: RegistryConnection): SchemaRegistry {
  const client = new Client(url, access)
  const known = new Map<number, bigint>()
  return {
    async register(topic, version) {
      const body = JSON.stringify({ schema: version.text, schemaType: 'AVRO' })
      const answer = await client.ask({ path: `/subjects/${encodeURIComponent(`${topic}-value`)}/versions`, body })
      if (!isOk(answer)) throw client.refusal(answer)
      return registeredAnswer.parse(JSON.parse(answer.text)).id
    },
    async fingerprintOfId(id) {
      const found = known.get(id)
      if (found !== undefined) return found
      const answer = await client.ask({ path: `/schemas/ids/${id}` })
      if (answer.status === 404) return undefined
      if (!isOk(answer)) throw client.refusal(answer)
      const { schema, schemaType } = schemaAnswer.parse(JSON.parse(answer.text))
      if (schemaType !== undefined && schemaType !== 'AVRO') return undefined
      const fingerprint = tryFingerprint(schema)
      if (fingerprint !== undefined) known.set(id, fingerprint)
      return fingerprint
    },
  }
}

function isOk({ status }: Answer): boolean {
  return status >= 200 && status < 300
}

/** A schema that refers to others, or that avsc refuses, is no version of the record: such an id must not stop the consumer. */
function tryFingerprint(schemaText: string): bigint | undefined {
  try {
    return fingerprintOf(schemaText)
  } catch {
    return undefined
  }
}

interface Question {
  readonly path: string
  /** Of a POST. */
  readonly body?: string
}

interface Answer {
  readonly path: string
  readonly status: number
  readonly text: string
}

/** The registry at one URL. Requests are few: each has a connection of its own. */
class Client {
  readonly #root: string
  readonly #access: RegistryAccess
  readonly #agent: Agent | undefined

  constructor(url: string, access: RegistryAccess) {
    const fault = urlFault(url, access.ssl)
    if (fault !== undefined) throw new InvalidInputError('OPTIONS_INVALID', `schema registry: ${fault}`)
    this.#root = url.replace(/\/+$/, '')
    this.#access = access
    this.#agent = url.startsWith('https:') ? httpsAgent(access.ssl ?? {}, PREFIX) : undefined
  }

  async ask(question: Question): Promise<Answer> {
    try {
      const answer = await this.#send(question)
      if (answer.status < 500) return answer
      throw new Error(`answered ${answer.status}`)
    } catch (cause) {
      const { code, message } = cause as { code?: string; message: string }
      const fault = tlsFault(cause, PREFIX)
      const said = `schema registry ${this.#root}: ${fault?.text ?? (message || code)}`
      if (fault?.certain === true) throw new IntegrityError('TLS_REFUSED', said, { cause })
      throw new AuditUnavailableError('REGISTRY_UNAVAILABLE', said, { cause })
    }
  }

  #send({ path, body }: Question): Promise<Answer> {
    const { username, password = '' } = this.#access
    const auth = username === undefined ? {} : { auth: `${username}:${openSecret(password, `${PREFIX}_PASSWORD`)}` }
    const { request } = process.getBuiltinModule(this.#agent === undefined ? 'node:http' : 'node:https')
    const options = {
      ...auth,
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'content-type': CONTENT_TYPE },
      agent: this.#agent ?? false,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    }
    return new Promise((resolve, reject) => {
      const sent = request(`${this.#root}${path}`, options, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (text += chunk)).on('error', reject)
        response.on('end', () => resolve({ path, status: response.statusCode ?? 0, text }))
      })
      sent.on('error', reject).end(body)
    })
  }

  refusal({ path, status, text }: Answer): TrailError {
    const answer = errorAnswer.safeParse(tryJson(text))
    const why = answer.success ? answer.data.message : 'no reason given'
    const message = `schema registry ${this.#root}${path} answered ${status}: ${why}`
    if (status !== 401 && status !== 403) return new InvalidInputError('SCHEMA_UNKNOWN', message)
    const { username } = this.#access
    const as = username === undefined ? 'a client without SCHEMA_REGISTRY_USERNAME' : `user "${username}"`
    const set = username === undefined || status === 403 ? '' : ' (SCHEMA_REGISTRY_USERNAME, SCHEMA_REGISTRY_PASSWORD)'
    return new IntegrityError('ACCESS_DENIED', `${message}: it refuses ${as}${set}`)
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
