/** The file in which a run of `verify` leaves what it has found right, for the next one. */
import { readFileSync, statSync } from 'node:fs'
import {
  type Analytics,
  faultOfState,
  formatVerifiedState,
  parseVerifiedState,
  type VerifiedState,
  writeWhole,
} from '@agent-audit/analytics'
import { TrailError } from '@agent-audit/schemas'
import type { Trust } from '@agent-audit/seals'
import { printable } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'

export interface StateOptions {
  readonly state?: string
  readonly full?: boolean
}

export interface KeptState {
  /** What the run may take over; undefined: it reads all. */
  readonly from: VerifiedState | undefined
  /** For the next run. */
  keep(state: VerifiedState): Promise<void>
}

const NOTHING_KEPT: KeptState = { from: undefined, keep: () => Promise.resolve() }
/** Of a process that runs on: kept between its rounds. */
export interface MemoryState {
  state: VerifiedState | undefined
}

export function memoryState(): MemoryState {
  return { state: undefined }
}

const WRITABLE_BY_OTHERS = 0o022

interface StateParts {
  readonly analytics: Analytics
  readonly terminal: Terminal
  readonly memory?: MemoryState | undefined
}

/** A state that cannot be used is named on the terminal: then all is read. */
export async function openState(
  options: StateOptions,
  { analytics, terminal, memory }: StateParts,
  trust: Trust | undefined,
): Promise<KeptState> {
  const file = options.state ?? (terminal.env['AUDIT_VERIFY_STATE'] || undefined)
  if (trust === undefined || (file === undefined && memory === undefined)) return NOTHING_KEPT
  const keep = async (state: VerifiedState): Promise<void> => {
    if (memory !== undefined) memory.state = state
    if (file === undefined) return
    await writeWhole(file, { content: [Buffer.from(formatVerifiedState(state))] })
  }
  if (options.full === true) return { from: undefined, keep }
  const read = memory?.state ?? (file === undefined ? undefined : readState(file))
  if (read === undefined) return { from: undefined, keep }
  const fault = typeof read === 'string' ? read : await faultOfState(analytics, read, trust)
  if (typeof read !== 'string' && fault === undefined) return { from: read, keep }
  terminal.err(`agent-audit: ${printable(file ?? 'the state')}: ${fault}. It is not used: all of the trail is read\n`)
  return { from: undefined, keep }
}

/** @returns a text: why it cannot be used. Undefined: there is none yet. */
function readState(file: string): VerifiedState | string | undefined {
  try {
    if ((statSync(file).mode & WRITABLE_BY_OTHERS) !== 0) return 'others than its owner can write it'
    return parseVerifiedState(readFileSync(file, 'utf8'))
  } catch (error) {
    if (error instanceof TrailError) return error.message
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === undefined) throw error
    return `cannot be read (${code})`
  }
}
