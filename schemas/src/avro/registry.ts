/** A client of the Confluent Schema Registry API: it registers the record's schema and finds schemas by id. */
import { z } from 'zod'
import { fingerprintOf, type SchemaVersion } from './avro-schema.ts'
import { urlFault } from '../environment.ts'
import { AuditUnavailableError, IntegrityError, InvalidInputError, type TrailError } from '../errors.ts'

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

/**
 * @param url - Root of the API, such as `http://localhost:8081` or `…/apis/ccompat/v7`.
 * @throws InvalidInputError `OPTIONS_INVALID` if it is no such URL, or has a user or a password.
 * All methods throw AuditUnavailableError `REGISTRY_UNAVAILABLE` naming the address, IntegrityError
 * `ACCESS_DENIED`, or InvalidInputError `SCHEMA_UNKNOWN` with the registry's message if it refuses the schema.
 */
export function createSchemaRegistry(url: string): SchemaRegistry {
  const fault = urlFault(url)
  if (fault !== undefined) throw new InvalidInputError('OPTIONS_INVALID', `schema registry: ${fault}`)
  const root = url.replace(/\/+$/, '')
  const known = new Map<number, bigint>()
  return {
    async register(topic, version) {
      const body = JSON.stringify({ schema: version.text, schemaType: 'AVRO' })
      const path = `/subjects/${encodeURIComponent(`${topic}-value`)}/versions`
      const response = await request(root, path, { method: 'POST', body })
      if (!response.ok) throw await refusal(root, path, response)
      return registeredAnswer.parse(await response.json()).id
    },
    async fingerprintOfId(id) {
      const found = known.get(id)
      if (found !== undefined) return found
      const path = `/schemas/ids/${id}`
      const response = await request(root, path)
      if (response.status === 404) return undefined
      if (!response.ok) throw await refusal(root, path, response)
      const answer = schemaAnswer.parse(await response.json())
      if (answer.schemaType !== undefined && answer.schemaType !== 'AVRO') return undefined
      const fingerprint = tryFingerprint(answer.schema)
      if (fingerprint !== undefined) known.set(id, fingerprint)
      return fingerprint
    },
  }
}

/** A schema that refers to others, or that avsc refuses, is no version of the record: such an id must not stop the consumer. */
function tryFingerprint(schemaText: string): bigint | undefined {
  try {
    return fingerprintOf(schemaText)
  } catch {
    return undefined
  }
}

async function request(root: string, path: string, init: RequestInit = {}): Promise<Response> {
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
    const response = await fetch(`${root}${path}`, { ...init, headers: { 'content-type': CONTENT_TYPE }, signal })
    if (response.status < 500) return response
    throw new Error(`answered ${response.status}`)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new AuditUnavailableError('REGISTRY_UNAVAILABLE', `schema registry ${root}: ${why}`, { cause })
  }
}

async function refusal(root: string, path: string, response: Response): Promise<TrailError> {
  const answer = errorAnswer.safeParse(await response.json().catch(() => undefined))
  const why = answer.success ? answer.data.message : 'no reason given'
  const message = `schema registry ${root}${path} answered ${response.status}: ${why}`
  if (response.status === 401 || response.status === 403) return new IntegrityError('ACCESS_DENIED', message)
  return new InvalidInputError('SCHEMA_UNKNOWN', message)
}
