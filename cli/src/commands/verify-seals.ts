/** `agent-audit verify` with a trust file. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Analytics,
  checkIntegrity,
  type CompletenessSummary,
  type Integrity,
  splitNotes,
} from '@agent-audit/analytics'
import { InvalidInputError, TrailError } from '@agent-audit/schemas'
import type { OpenedTrust } from '@agent-audit/seals'
import { InvalidArgumentError } from 'commander'
import { openLogReader } from '../log-reader.ts'
import { isS3, openS3 } from '../s3-sink.ts'
import type { RunSummary } from '../render/completeness.ts'
import { integrityReport, verifiedLine } from '../render/integrity.ts'
import { asJson, figure, painter } from '../render/text.ts'
import type { Printer, Terminal } from '../terminal.ts'
import { type MemoryState, openState, type StateOptions } from './verify-state.ts'

export interface SealOptions extends StateOptions {
  readonly trust?: string
  readonly root?: string
  readonly checkpoints?: readonly string[]
  readonly partition?: PartitionOption
  readonly since?: Date
  readonly session?: string
  /** Seconds. */
  readonly settle: number
  readonly json?: boolean
  readonly dataDir?: string | undefined
  /** Whether the log is asked for missing records. */
  readonly kafka?: boolean
  readonly brokers?: string
}

/** One partition, of a log or of each. */
export interface PartitionOption {
  readonly log: string | undefined
  readonly partition: number
}

/** What a check prints to, reads from and counts. */
export interface Output {
  readonly printer: Printer
  readonly analytics: Analytics
  readonly terminal: Terminal
  /** The embedded log beside the trail, if there is one. */
  readonly logDir: string | undefined
  /** Sums up the runs that are checked. */
  readonly runs: RunSummary
  /** Ends the check; it has no result then. */
  readonly signal?: AbortSignal | undefined
  /** Of a process that verifies again and again. */
  readonly memory?: MemoryState | undefined
}

export interface Verified {
  /** Undefined: completeness was not checked. */
  readonly summary: CompletenessSummary | undefined
  readonly exitCode: number
  /** Undefined: the seals were not checked. */
  readonly report?: Integrity | undefined
}

/** What is trusted: files from outside of the pipeline. */
export interface Anchors {
  /** Undefined: no trust file, and no key is checked. */
  readonly trust: OpenedTrust | undefined
  /** The text of the trust file. */
  readonly trustText: string
  readonly root: string | undefined
  readonly checkpoints: readonly string[]
}

const EXIT_CODES = { verified: 0, tampering: 1, incomplete: 2, unchecked: 3 } as const
const PROGRESS_MS = 500

const NO_TRUST: Anchors = { trust: undefined, trustText: '', root: undefined, checkpoints: [] }

/** @returns without a trust, if there is no trust file, or one that has no key: then nothing counts as signed. */
export async function readAnchors(options: SealOptions, env: Terminal['env']): Promise<Anchors> {
  const file = options.trust ?? (env['AUDIT_TRUST_FILE'] || besideData(options.dataDir))
  const fromEnvironment = env['AUDIT_CHECKPOINTS_FILE'] || undefined
  const files = options.checkpoints ?? (fromEnvironment === undefined ? [] : [fromEnvironment])
  if (file === undefined) {
    if ([options.checkpoints, options.root, options.session].every((option) => option === undefined)) return NO_TRUST
    throw new InvalidInputError('OPTIONS_INVALID', 'verify: --checkpoints, --root and --session need --trust')
  }
  const root = options.root ?? (env['AUDIT_ROOT_VKEY'] || undefined)
  const trust = await readTrust(file, root)
  const read = async (name: string): Promise<readonly string[]> =>
    isS3(name) ? await (await openS3(name, env)).newest() : splitNotes(readText(name))
  const checkpoints = (await Promise.all(files.map(read))).flat()
  return trust.keys.length === 0 ? NO_TRUST : { trust, trustText: readText(file), root, checkpoints }
}

/** The trust file of a data directory, if it has one. */
function besideData(dataDir: string | undefined): string | undefined {
  if (dataDir === undefined) return undefined
  const file = join(dataDir, 'trust')
  return existsSync(file) ? file : undefined
}

async function readTrust(file: string, root: string | undefined): Promise<OpenedTrust> {
  const { openTrust, VerifierKey } = await import('@agent-audit/seals')
  const text = readText(file)
  try {
    return openTrust(text, root === undefined ? undefined : VerifierKey.parse(root))
  } catch (error) {
    // Not a finding in the trail: nothing was checked.
    if (!(error instanceof TrailError)) throw error
    throw new InvalidInputError('INPUT_UNREADABLE', `${file}: ${error.message}`, { cause: error })
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new InvalidInputError('INPUT_UNREADABLE', `${file}: cannot be read (${code})`, { cause: error })
  }
}

/** `3`, or `<log_id>/3`. */
export function parsePartition(text: string): PartitionOption {
  const [, log, partition = ''] = /^(?:([0-9a-f]{16})\/)?(\d{1,9})$/.exec(text) ?? []
  if (partition === '') throw new InvalidArgumentError('expected a number, such as 3, or <log_id>/<number>')
  return { log, partition: Number(partition) }
}

export async function verifySeals(anchors: Anchors, output: Output, options: SealOptions): Promise<Verified> {
  const { printer, analytics, terminal, runs } = output
  const { trust, checkpoints } = anchors
  const { logDir } = output
  const log = options.kafka === true ? openLogReader({ brokers: options.brokers, logDir }, terminal) : undefined
  const kept = await openState(options, output, trust)
  const report = await checkIntegrity(analytics, {
    trust,
    checkpoints,
    partition: options.partition,
    since: options.since?.getTime(),
    from: kept.from,
    log,
    settleMs: options.settle * 1e3,
    onRun: (run) => runs.add(run),
    onProgress: progressOf(terminal, output.signal),
  })
  terminal.progress?.('')
  const { completeness: summary, state, ...rest } = report
  if (state !== null) await kept.keep(state)
  const signature = trust === undefined ? 'missing' : trust.signature
  if (options.json === true)
    await printer.print(`${asJson({ ...rest, trust_signature: signature, completeness: summary })}\n`)
  // A service says no more than it has to.
  else if (output.memory !== undefined && report.verdict === 'verified') await printer.print(verifiedLine(report))
  else await printer.print(integrityReport(report, signature, painter(terminal.colors)))
  return { summary: summary ?? undefined, exitCode: EXIT_CODES[report.verdict], report }
}

/** A bar on a terminal, for a check that takes long. */
function progressOf(terminal: Terminal, signal: AbortSignal | undefined): (read: number, total: number) => void {
  const { progress } = terminal
  let shown = Date.now()
  return (read, total) => {
    signal?.throwIfAborted()
    if (progress === undefined || Date.now() - shown < PROGRESS_MS) return
    shown = Date.now()
    const share = total === 0 ? 1 : read / total
    const done = Math.round(share * 30)
    progress(`[${'#'.repeat(done)}${'.'.repeat(30 - done)}] ${Math.floor(share * 100)} %, ${figure(read)} offsets`)
  }
}
