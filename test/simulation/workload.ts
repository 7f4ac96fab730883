/** The records of producers in the log of one partition: in order, repeated, out of order, broken; two classes, two months. */
import { SCHEMA_VERSIONS } from '@agent-audit/schemas'
import type { LogRecord } from '@agent-audit/consumer/pipeline'
import { encodeVersion, makeRecord, runIdOf, uuidOf } from '../support/records.ts'
import type { Random } from './random.ts'

/** Some seconds before 2026-02-01: the log enters another month while the simulation runs. */
const LOG_START = Date.UTC(2026, 1, 1) - 6000
const RUNS = 3

export class Producer {
  readonly #random: Random
  readonly #runs: { name: string; next: number; leftOut: number[] }[]

  constructor(random: Random, partition: number) {
    this.#random = random
    this.#runs = Array.from({ length: RUNS }, (_, index) => ({
      name: `${partition}-${index}`,
      next: 0,
      leftOut: [],
    }))
  }

  /** The next record; undefined is a hole. */
  draw(nowMs: number): Omit<LogRecord, 'offset'> | undefined {
    const random = this.#random
    // Brokers' clocks differ: around the turn of the month the log's times go back and forth.
    const logTimeMs = Math.floor(LOG_START + nowMs + random.between(-1500, 1500))
    const run = random.pick(this.#runs)
    // As our producer sends a record: its key is the run's id, without headers. Other producers send other ones.
    const plain = logTimeMs % 3 > 0
    const made = (value: Buffer | null): Omit<LogRecord, 'offset'> => ({
      logTimeMs,
      key: value && (plain ? runIdOf(run.name) : Buffer.from(`key of ${value.length}`)),
      value,
      headers: value === null || plain ? undefined : { sent: Buffer.from(String(logTimeMs)) },
    })
    const kind = random.next()
    if (kind < 0.06) return undefined
    if (kind < 0.1) return made(null)
    if (kind < 0.14) return made(Buffer.from('no record'))
    if (kind < 0.3 && run.next > 0) {
      const seq = random.below(run.next)
      // A record that is forged has the identity of another one, and may come before or after that one.
      const forged = seq % 4 === 0
      // A record that was left out is not in the log yet: sending it now is a replay.
      run.leftOut = run.leftOut.filter((left) => left !== seq)
      return made(recordOf(run.name, seq, forged))
    }
    const leftOut = run.leftOut.at(-1)
    if (kind < 0.4 && leftOut !== undefined) {
      run.leftOut.pop()
      return made(recordOf(run.name, leftOut))
    }
    if (kind < 0.5) run.leftOut.push(run.next++)
    return made(recordOf(run.name, run.next++))
  }
}

const FORGED = { event_id: uuidOf('forged'), reasoning: 'forged' }
const records = new Map<string, Buffer>()
/** `run_id:run_seq` of every good record, by its bytes. */
const identities = new Map<Buffer, string>()

/** `run_id:run_seq` of a value that {@link Producer.draw} made; undefined if it is not a record. */
export function identityOf(value: Buffer | null): string | undefined {
  return value === null ? undefined : identities.get(value)
}

// A record has the same bytes however often it is sent.
function recordOf(run: string, seq: number, forged = false): Buffer {
  const key = `${run}:${seq}:${forged}`
  const known = records.get(key)
  if (known !== undefined) return known
  const version = SCHEMA_VERSIONS[seq % SCHEMA_VERSIONS.length]
  if (version === undefined) throw new Error('there is no schema')
  const retention_class = Math.floor(seq / 3) % 3 === 1 ? 'pci' : 'default'
  const value = encodeVersion(version, makeRecord(run, seq, { retention_class, ...(forged && FORGED) }))
  records.set(key, value)
  identities.set(value, `${runIdOf(run).toString('hex')}:${seq}`)
  return value
}
