/** Stage: decides whether a record can be stored. Reads framing and structure, decodes nothing. */
import type { LogRecord } from '@agent-audit/kafka'
import {
  classesOfTopic,
  findChecker,
  findSchema,
  NEWEST_SCHEMA,
  readFrame,
  type ReadIdentity,
  readIdentity,
  type RecordChecker,
  type RecordHead,
  type SchemaRegistry,
  type SchemaVersion,
} from '@agent-audit/schemas'

/** Storable, or the reason why not. The next check overwrites it. */
export type Verdict =
  | { readonly storable: true; readonly bodyStart: number; readonly version: SchemaVersion; readonly head: RecordHead }
  | {
      readonly storable: false
      readonly reason: string
      readonly identity: ReadIdentity | undefined
      /** Known only of a record that has passed the structural check. */
      readonly retentionClass: string | undefined
    }

export interface RecordCheck {
  /** Asks the registry for unknown schema ids. Call it before {@link check}, with the same records. */
  prepare(records: readonly LogRecord[]): Promise<void>
  check(record: LogRecord): Verdict
}

/** The reader of records that begin with these bytes. */
interface Accepted {
  readonly frame: Buffer
  readonly checker: RecordChecker
  readonly verdict: Extract<Verdict, { storable: true }>
}

function startsWith(value: Buffer, frame: Buffer): boolean {
  for (let index = 0; index < frame.length; index++) if (value[index] !== frame[index]) return false
  return true
}

/** @param registry - Without one, records in the Confluent wire format are dead letters. */
export function createRecordCheck(registry: SchemaRegistry | undefined): RecordCheck {
  const fingerprints = new Map<number, bigint | undefined>()

  async function prepare(records: readonly LogRecord[]): Promise<void> {
    if (registry === undefined) return
    const asked = new Set<number>()
    for (const { value } of records) {
      if (value === null || value[0] !== 0) continue
      const frame = readFrame(value)
      if (frame.kind !== 'confluent' || asked.has(frame.registryId)) continue
      // Ask again for an id that was unknown: a stray message must not condemn records of a schema that is registered later.
      if (fingerprints.get(frame.registryId) !== undefined) continue
      asked.add(frame.registryId)
      fingerprints.set(frame.registryId, await registry.fingerprintOfId(frame.registryId))
    }
  }

  // Nearly every record has the frame of the previous one: then comparing its first bytes is enough.
  let accepted: Accepted | undefined

  function check({ value }: LogRecord): Verdict {
    if (value === null) return dead('tombstone: the value is null', undefined)
    if (accepted === undefined || !startsWith(value, accepted.frame)) {
      const found = findReader(value)
      if (!('checker' in found)) return found
      accepted = found
    }
    const { checker, verdict } = accepted
    const fault = checker.check(value, verdict.bodyStart, value.length)
    return fault === undefined ? verdict : dead(fault, readIdentity(value, verdict.bodyStart))
  }

  function findReader(value: Buffer): Accepted | Verdict {
    const frame = readFrame(value)
    if (frame.kind === 'unknown') return dead(frame.reason, undefined)
    const fingerprint = frame.kind === 'confluent' ? fingerprints.get(frame.registryId) : frame.fingerprint
    const checker = fingerprint === undefined ? undefined : findChecker(fingerprint)
    const version = fingerprint === undefined ? undefined : findSchema(fingerprint)
    if (checker === undefined || version === undefined) {
      // The identity can be read without the schema: every version begins with it.
      return dead(describeUnknown(frame, registry !== undefined), readIdentity(value, frame.bodyStart))
    }
    const verdict = { storable: true, bodyStart: frame.bodyStart, version, head: checker.head } as const
    return { frame: Buffer.from(value.subarray(0, frame.bodyStart)), checker, verdict }
  }

  return { prepare, check }
}

/** Characters of a foreign class in a reason. */
const SHOWN_CLASS = 100

/**
 * The check of the records of one topic: a record of a class that the topic does not have is a dead letter. Each class is a
 * partition of the tables, so a record of a class of its own would be one, and an insert, for ever.
 */
export function checkClasses(check: RecordCheck, topic: string): RecordCheck {
  const classes = classesOfTopic(topic)
  // Nearly every record has the class of the previous one, and the very same string.
  let accepted: string | undefined
  return {
    prepare: (records) => check.prepare(records),
    check(record) {
      const verdict = check.check(record)
      if (!verdict.storable || record.value === null || verdict.head.retentionClass === accepted) return verdict
      const { retentionClass } = verdict.head
      if (classes.includes(retentionClass)) {
        accepted = retentionClass
        return verdict
      }
      const shown = JSON.stringify(retentionClass.slice(0, SHOWN_CLASS))
      const reason = `retention class ${shown}: topic ${topic} is of ${classes.join(' or ')}`
      return dead(reason, readIdentity(record.value, verdict.bodyStart))
    },
  }
}

function dead(reason: string, identity: ReadIdentity | undefined): Verdict {
  return { storable: false, reason, identity, retentionClass: undefined }
}

function describeUnknown(
  frame: { kind: string; registryId?: number; fingerprint?: bigint },
  registry: boolean,
): string {
  if (frame.kind === 'single-object') {
    const fingerprint = (frame.fingerprint ?? 0n).toString(16).padStart(16, '0')
    return `unknown schema fingerprint ${fingerprint}: this consumer knows the record up to version ${NEWEST_SCHEMA.version}`
  }
  if (!registry) return `schema id ${frame.registryId} cannot be looked up: SCHEMA_REGISTRY_URL is not set`
  return `unknown schema id ${frame.registryId}`
}
