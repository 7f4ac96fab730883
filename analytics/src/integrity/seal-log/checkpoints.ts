/** The checkpoints of a seal log: those kept outside of the pipeline, and those in the table. */
import { CHECKPOINTS_TABLE } from '@agent-audit/schemas'
import {
  keyFaultAt,
  keysOfRole,
  readCheckpointLine,
  type Trust,
  type VerifiedCheckpoint,
  verifyCheckpoint,
} from '@agent-audit/seals'
import type { Analytics } from '../../connection/clickhouse.ts'
import { type Row, text } from '../../connection/rows.ts'
import type { Findings } from '../findings.ts'

export interface HeldCheckpoint extends VerifiedCheckpoint {
  /** Whether it was kept outside of the database. */
  readonly outside: boolean
}

const CHECKPOINTS = `
  SELECT lower(hex(seals_log_id)) AS log, origin, base64Encode(note) AS note
  FROM {database:Identifier}.${CHECKPOINTS_TABLE} WHERE size >= {fromSize:UInt64} ORDER BY size`

/**
 * The notes of a file: one behind the other, with empty lines between them or none; or, as the notary's file and standard output
 * have them, each as a line of Base64, of which one that a crash has torn counts for nothing.
 */
export function splitNotes(file: string): string[] {
  const [whole, rest]: [string[], string[]] = [[], []]
  for (const line of file.split('\n')) {
    const note = readCheckpointLine(line)?.note
    if (note === undefined) rest.push(line)
    else whole.push(note)
  }
  const isTorn = whole.length > 0 && !rest.some((line) => line.startsWith('— '))
  return isTorn ? whole : [...whole, ...notesIn(rest)]
}

function notesIn(file: readonly string[]): string[] {
  const notes: string[] = []
  let lines: string[] = []
  let signed = false
  for (const line of file) {
    const isSignature = line.startsWith('— ')
    if (signed && !isSignature) {
      notes.push(`${lines.join('\n')}\n`)
      lines = []
    }
    signed = isSignature
    if (lines.length > 0 || line !== '') lines.push(line)
  }
  // What is behind the last signature is a cut note, unless it is empty.
  if (lines.length > 0) notes.push(signed ? `${lines.join('\n')}\n` : lines.join('\n'))
  return notes
}

export interface FoundCheckpoints {
  /** By rising size, of the origin of the trust file. */
  readonly held: readonly HeldCheckpoint[]
  /** The seal log whose checkpoints in the table have the origin: 16 hex digits. Undefined: the table does not tell. */
  readonly log: string | undefined
}

export interface CheckpointOptions {
  /** Undefined: no checkpoint counts. */
  readonly trust: Trust | undefined
  /** Notes that were kept outside of the database. */
  readonly checkpoints?: readonly string[] | undefined
  /** Smaller ones were held against the tree before. */
  readonly fromSize: number
}

export async function readCheckpoints(
  analytics: Analytics,
  { trust, checkpoints: outside = [], fromSize }: CheckpointOptions,
  findings: Findings,
): Promise<FoundCheckpoints> {
  if (trust === undefined) return { held: [], log: undefined }
  const rows = await analytics.rows<Row>(CHECKPOINTS, { fromSize })
  const stored = rows.filter((row) => trust.origin === undefined || row['origin'] === trust.origin)
  const check = (note: string, isOutside: boolean): HeldCheckpoint[] => {
    const verified = verify(note, trust, findings, isOutside ? 'kept outside' : 'in the table')
    return verified === undefined ? [] : [{ ...verified, outside: isOutside }]
  }
  const held = [
    ...outside.flatMap((note) => check(note, true)),
    ...stored.flatMap((row) => check(Buffer.from(text(row, 'note'), 'base64').toString(), false)),
  ]
  const logs = new Set(stored.map((row) => text(row, 'log')))
  const large = held.filter(({ size }) => size >= fromSize)
  return { held: large.toSorted((a, b) => a.size - b.size), log: logs.size === 1 ? [...logs][0] : undefined }
}

function verify(note: string, trust: Trust, findings: Findings, where: string): VerifiedCheckpoint | undefined {
  const wrong = (fault: string): undefined => {
    findings.add('tampering', 'checkpoint-invalid', `a checkpoint ${where}: ${fault}`)
  }
  let found: VerifiedCheckpoint
  try {
    found = verifyCheckpoint(note, { log: keysOfRole(trust, 'notary'), witnesses: trust.witnesses })
  } catch (error) {
    return wrong((error as Error).message)
  }
  if (trust.origin !== undefined && found.origin !== trust.origin) {
    return wrong(`expected the origin ${trust.origin}, found ${found.origin}`)
  }
  if (found.seconds === undefined) return wrong('its notary has signed no time')
  const trusted = trust.keys.find(({ key }) => key.name === found.key.name && key.publicKey.equals(found.key.publicKey))
  const fault = trusted && keyFaultAt(trusted, found.seconds * 1000)
  return fault === undefined ? found : wrong(`the key of its notary ${found.key.name} is ${fault} at its time`)
}
