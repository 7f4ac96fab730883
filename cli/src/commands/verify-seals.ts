/** `agent-audit verify` with a trust file. */
import { readFileSync } from 'node:fs'
import { type Analytics, checkIntegrity, type CompletenessSummary, splitNotes } from '@agent-audit/analytics'
import { InvalidInputError, TrailError } from '@agent-audit/schemas'
import type { OpenedTrust } from '@agent-audit/seals'
import { InvalidArgumentError } from 'commander'
import { isS3, openS3 } from '../s3-sink.ts'
import type { RunSummary } from '../render/completeness.ts'
import { integrityReport } from '../render/integrity.ts'
import { asJson, figure, painter } from '../render/text.ts'
import type { Printer, Terminal } from '../terminal.ts'

export interface SealOptions {
  readonly trust?: string
  readonly root?: string
  readonly checkpoints?: readonly string[]
  readonly partition?: PartitionOption
  readonly json?: boolean
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
  /** Sums up the runs that are checked. */
  readonly runs: RunSummary
}

export interface Verified {
  /** Undefined: completeness was not checked. */
  readonly summary: CompletenessSummary | undefined
  readonly exitCode: number
}

/** What is trusted: files from outside of the pipeline. */
export interface Anchors {
  readonly trust: OpenedTrust
  readonly checkpoints: readonly string[]
}

const EXIT_CODES = { verified: 0, tampering: 1, incomplete: 2, unchecked: 3 } as const
const PROGRESS_MS = 500

/** @returns undefined without a trust file, or with one that has no key: then nothing counts as signed. */
export async function readAnchors(options: SealOptions, env: Terminal['env']): Promise<Anchors | undefined> {
  const file = options.trust ?? (env['AUDIT_TRUST_FILE'] || undefined)
  const fromEnvironment = env['AUDIT_CHECKPOINTS_FILE'] || undefined
  const files = options.checkpoints ?? (fromEnvironment === undefined ? [] : [fromEnvironment])
  if (file === undefined) {
    if ([options.checkpoints, options.root, options.partition].every((option) => option === undefined)) return undefined
    throw new InvalidInputError('OPTIONS_INVALID', 'verify: --checkpoints, --root and --partition need --trust')
  }
  const trust = await readTrust(file, options.root ?? (env['AUDIT_ROOT_VKEY'] || undefined))
  const read = async (name: string): Promise<readonly string[]> =>
    isS3(name) ? await (await openS3(name, env)).newest() : splitNotes(readText(name))
  const checkpoints = (await Promise.all(files.map(read))).flat()
  return trust.keys.length === 0 ? undefined : { trust, checkpoints }
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

export async function verifySeals(
  { trust, checkpoints }: Anchors,
  { printer, analytics, terminal, runs }: Output,
  { json, partition }: SealOptions,
): Promise<Verified> {
  const report = await checkIntegrity(analytics, {
    trust,
    checkpoints,
    partition,
    onRun: (run) => runs.add(run),
    onProgress: progressOf(terminal),
  })
  terminal.progress?.('')
  const { completeness: summary, ...rest } = report
  if (json === true)
    await printer.print(`${asJson({ ...rest, trust_signature: trust.signature, completeness: summary })}\n`)
  else await printer.print(integrityReport(report, trust.signature, painter(terminal.colors)))
  return { summary: summary ?? undefined, exitCode: EXIT_CODES[report.verdict] }
}

/** A bar on a terminal, for a check that takes long. */
function progressOf(terminal: Terminal): ((read: number, total: number) => void) | undefined {
  const { progress } = terminal
  if (progress === undefined) return undefined
  let shown = Date.now()
  return (read, total) => {
    if (Date.now() - shown < PROGRESS_MS) return
    shown = Date.now()
    const share = total === 0 ? 1 : read / total
    const done = Math.round(share * 30)
    progress(`[${'#'.repeat(done)}${'.'.repeat(30 - done)}] ${Math.floor(share * 100)} %, ${figure(read)} offsets`)
  }
}
