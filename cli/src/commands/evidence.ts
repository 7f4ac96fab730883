/** `agent-audit evidence`: a bundle that proves one session, and its check without a server. */
import { readFileSync, statSync } from 'node:fs'
import { type DecidedConflict, exportEvidence, writeWhole } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import { VerifierKey } from '@agent-audit/seals'
import { checkEvidence, type EvidenceReport, parseBundle } from '@agent-audit/seals/evidence'
import type { Command } from 'commander'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { renderEvidence } from '../render/evidence.ts'
import { asJson, counted, printable, shortId } from '../render/text.ts'
import { EXIT, type Terminal } from '../terminal.ts'

interface TrustOptions {
  readonly trust?: string
  readonly root?: string
  readonly checkpoint?: string
  readonly json?: boolean
}

interface ExportOptions extends ConnectionOptions, TrustOptions {
  readonly trust: string
  readonly out: string
}

interface CheckOptions extends TrustOptions {
  readonly report?: string
}

const CODES = { verified: EXIT.done, tampered: EXIT.finding, incomplete: 2, unchecked: EXIT.notCompleted } as const
/** A file is read as a whole. */
const MAX_BYTES = 2 ** 30

const AFTER_CHECK = `
Exit codes: 0 verified, 1 tampered, 2 incomplete (records without a seal, a gap, no end of the session), 3 could not check (a key,
a schema or a checkpoint is missing, or the keys come from the bundle alone), 64 wrong use. Needs no server and no network.`

export function addEvidence(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const evidence = program.command('evidence').description('prove a session to others: make a bundle, check a bundle')
  const command = evidence
    .command('export')
    .description('write one session with its seals and proofs into one file, which is checked without a server')
    .argument('<session>', 'session_id')
    .requiredOption('-o, --out <file>', 'the bundle; a file of that name is replaced')
    .requiredOption('--trust <file>', 'the trust file: it goes into the bundle')
    .option('--root <vkey>', 'the root key that must have signed the trust file')
    .option('--checkpoint <file>', 'a checkpoint that was kept outside: the bundle proves that its log extends it')
    .option('--json', 'one JSON object: what `evidence check` says of the bundle')
  connectable(command).action(async (session: string, options: ExportOptions) => {
    exit(await exportSession(session, options, terminal))
  })
  evidence
    .command('check')
    .description('check a bundle: whether its records are those that were sealed, and the whole session')
    .argument('<file>', 'the bundle')
    .option('--trust <file>', 'the trust file, which came by another way than the bundle')
    .option('--root <vkey>', 'the root key: it must have signed the trust file, the given one or that of the bundle')
    .option('--checkpoint <file>', 'a checkpoint that was kept outside of the pipeline')
    .option('--report <file>', 'write the readable report of the bundle there, if it is that of its records')
    .option('--json', 'one JSON object')
    .addHelpText('after', AFTER_CHECK)
    .action(async (file: string, options: CheckOptions) => exit(await check(file, options, terminal)))
}

async function exportSession(session: string, options: ExportOptions, terminal: Terminal): Promise<number> {
  const given = { ...readGiven(options), trust: readText(options.trust) }
  const made = await withTrail(options, terminal, (analytics) => exportEvidence(analytics, session, given))
  if (made === undefined) {
    terminal.err(`agent-audit: no session "${shortId(session)}" in the trail: nothing is exported\n`)
    return EXIT.notCompleted
  }
  const { bundle, report, decided } = made
  await writeWhole(options.out, { content: [bundle] })
  if (options.json !== true) {
    terminal.out(
      `${counted(report.events, 'event')} exported to ${printable(options.out)}, ${counted(bundle.length, 'byte')}\n`,
    )
  }
  return said(report, options, terminal, decided)
}

async function check(file: string, options: CheckOptions, terminal: Terminal): Promise<number> {
  const given = readGiven(options)
  const bytes = readFile(file)
  const report = checkEvidence(bytes, given)
  if (options.report !== undefined) await writeReport(options.report, bytes, report, terminal)
  return said(report, options, terminal)
}

/** A report that is not that of the records is not written: it may say anything. */
async function writeReport(file: string, bytes: Buffer, report: EvidenceReport, terminal: Terminal): Promise<void> {
  if (report.verdict === 'tampered' || report.session_id === null || report.runs.length === 0) {
    terminal.err('agent-audit: no report is written: the bundle does not have the records that it says\n')
    return
  }
  await writeWhole(file, { content: [Buffer.from(parseBundle(bytes).report)] })
}

function said(
  report: EvidenceReport,
  { json }: TrustOptions,
  terminal: Terminal,
  decided?: readonly DecidedConflict[],
): number {
  terminal.out(json === true ? `${asJson({ ...report, decided })}\n` : renderEvidence(report, decided))
  return CODES[report.verdict]
}

function readGiven({ trust, root, checkpoint }: TrustOptions): Parameters<typeof checkEvidence>[1] {
  return {
    trust: trust === undefined ? undefined : readText(trust),
    root: root === undefined ? undefined : rootKey(root),
    checkpoint: checkpoint === undefined ? undefined : readText(checkpoint),
  }
}

function rootKey(vkey: string): VerifierKey {
  try {
    return VerifierKey.parse(vkey)
  } catch (cause) {
    throw new InvalidInputError('OPTIONS_INVALID', `--root: ${(cause as Error).message}`, { cause })
  }
}

function readText(file: string): string {
  return readFile(file).toString()
}

/** @throws InvalidInputError `INPUT_UNREADABLE` */
function readFile(file: string): Buffer {
  try {
    if (statSync(file).size <= MAX_BYTES) return readFileSync(file)
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new InvalidInputError('INPUT_UNREADABLE', `${file}: cannot be read (${code})`, { cause })
  }
  throw new InvalidInputError('INPUT_UNREADABLE', `${file}: expected at most ${MAX_BYTES} bytes`)
}
