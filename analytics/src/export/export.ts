/**
 * Exports the events of a range into a folder of Parquet files for notebooks (docs/export.md).
 *
 * A round fixes what it writes before the first file: up to which offset of each partition. Rows below never change, so the
 * same plan gives the same rows whenever it is finished. It is kept in the folder; a run that finds one finishes it first. A
 * file has its name once it is whole, is noted after that, and the manifest is written once all are noted: whatever step a kill
 * meets, the next run repeats that step.
 */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { InvalidInputError, IntegrityError, NEWEST_SCHEMA } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import type { TimeWindow } from '../connection/sql.ts'
import type { Cursor } from '../queries/changes.ts'
import { logEnds } from '../queries/log-ends.ts'
import { digestOf, listParquet, pathOf, removeUnfinished, rowsOf, unfinishedIn } from './folder.ts'
import {
  completeTo,
  type ExportedFile,
  type ExportRange,
  makeManifest,
  type Manifest,
  MANIFEST,
  type PlannedFile,
  readManifest,
  type Round,
} from './manifest.ts'
import { countRows, fileBytes, planFiles, readWriter } from './plan.ts'
import { type Plan, Work } from './work.ts'
import { type FileDigest, writeWhole } from './whole-file.ts'

export interface ExportOptions extends TimeWindow {
  /** Made if it is missing. One folder holds one range. */
  readonly directory: string
  /** Only events of this agent. */
  readonly agent?: string | undefined
  /** Adds the events that were stored since the folder's last round, however old they are. @defaultValue false */
  readonly update?: boolean | undefined
  /** Ends the export between two parts of an answer; the next run goes on. */
  readonly signal?: AbortSignal | undefined
  /** Told each file once it is whole. */
  readonly onFile?: ((file: ExportedFile) => void) | undefined
}

export interface ExportReport {
  /** Undefined: the range has no event, and nothing was written. */
  readonly manifest: Manifest | undefined
  /** Files that this run has added. */
  readonly added: readonly ExportedFile[]
  /** Whether this run has finished what a killed one had begun. */
  readonly resumed: boolean
  /** Files that were missing or not as they had been written, and are written again. */
  readonly repaired: readonly ExportedFile[]
  /** Parquet files among the events that no manifest names: a notebook would read them too. Paths below the folder. */
  readonly foreign: readonly string[]
  /** Events of the range that were stored since the last round: an update adds them. */
  readonly later: number
}

const MAX_FILES = 100_000
const MAX_ATTEMPTS = 3

/**
 * Writes the events of a range into a folder: a file a day and agent, and a manifest. Called again on the same folder, it finishes
 * what a killed call has begun, else checks every file and writes again what is missing or damaged.
 * @param options - `since` may be absent where the folder has an export.
 * @throws InvalidInputError `OPTIONS_INVALID` for an empty range, too many files, or a folder of another range;
 * `INPUT_UNREADABLE` for a damaged manifest. AuditUnavailableError `EXPORT_BUSY` if another process exports into the folder.
 * IntegrityError `EXPORT_CHANGED` if the trail no longer has the rows of a file that is to be written again. Else as {@link Analytics.rows}.
 */
export async function exportTrail(connection: Analytics, options: ExportOptions): Promise<ExportReport> {
  const { analytics, rows: quarantined } = await withoutQuarantined(connection)
  const exporter = new Exporter(analytics, options, quarantined)
  const { directory } = options
  // Looked at before the folder is made: an export of nothing leaves nothing.
  const first = existsSync(directory) ? undefined : await exporter.plan(rangeOf(options), [])
  if (first?.files.length === 0) return NOTHING
  await mkdir(directory, { recursive: true })
  using work = new Work(directory)
  return await exporter.run(work, first)
}

const NOTHING: ExportReport = { manifest: undefined, added: [], resumed: false, repaired: [], foreign: [], later: 0 }

class Exporter {
  readonly #analytics: Analytics
  readonly #options: ExportOptions
  readonly #quarantined: number

  constructor(analytics: Analytics, options: ExportOptions, quarantined: number) {
    this.#analytics = analytics
    this.#options = options
    this.#quarantined = quarantined
  }

  async run(work: Work, first: Plan | undefined): Promise<ExportReport> {
    const { directory, update = false } = this.#options
    await removeUnfinished(directory)
    const manifest = await readManifest(directory)
    const unfinished = work.plan
    const range = unfinished?.range ?? manifest?.range
    if (range !== undefined) checkSame(range, this.#options, directory)
    if (unfinished !== undefined) return this.#finish(work, unfinished, { manifest, resumed: true })
    if (manifest === undefined) return this.#begin(work, first ?? (await this.plan(rangeOf(this.#options), [])), {})
    const checked = await this.#check(manifest)
    if (!update) return { ...checked, later: await this.#countLater(manifest) }
    const { added, manifest: updated } = await this.#begin(
      work,
      await this.plan(manifest.range, manifest.rounds),
      checked,
    )
    return { ...checked, added, manifest: updated }
  }

  /** What the next round after these writes. */
  async plan(range: ExportRange, rounds: readonly Round[]): Promise<Plan> {
    const { ends, held } = await logEnds(this.#analytics)
    const round: Round = {
      round: Math.max(0, ...rounds.map((before) => before.round)) + 1,
      taken_at: new Date().toISOString(),
      stretches: stretchesTo(ends, completeTo(rounds)),
      held,
      quarantined_rows: this.#quarantined,
    }
    const files = await planFiles(this.#analytics, { range, round, limit: MAX_FILES })
    if (files.length <= MAX_FILES) return { range, round, files }
    const message = `the range has more than ${MAX_FILES} pairs of day and agent, a file each: choose a shorter one, or one agent`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }

  async #begin(work: Work, plan: Plan, { manifest }: Before): Promise<ExportReport> {
    if (plan.files.length === 0) return { ...NOTHING, manifest }
    work.begin(plan)
    return this.#finish(work, plan, { manifest, resumed: false })
  }

  /** Writes the files of a plan that are not noted, or no longer as noted; then the manifest. */
  async #finish(work: Work, plan: Plan, { manifest, resumed }: Before & { resumed: boolean }): Promise<ExportReport> {
    const { directory, onFile } = this.#options
    const before = manifest?.tables.events.files ?? []
    // Killed between the manifest and the end of the plan.
    const isListed = manifest?.rounds.some(({ round }) => round === plan.round.round) === true
    const added: ExportedFile[] = []
    for (const planned of isListed ? [] : plan.files) {
      const path = pathOf(planned)
      const digest = await digestOf(join(directory, path))
      const file = isSame(work.done(path), digest) ? { ...planned, path, ...digest } : await this.#write(plan, planned)
      if (file === undefined) continue
      work.note(path, file)
      added.push(file)
      onFile?.(file)
    }
    const { clickhouse, columns } = await readWriter(this.#analytics)
    const record_schema = NEWEST_SCHEMA.fingerprint.toString(16).padStart(16, '0')
    const made = makeManifest({
      writer: { clickhouse, record_schema },
      range: plan.range,
      rounds: isListed ? manifest.rounds : [...(manifest?.rounds ?? []), plan.round],
      columns,
      files: [...before, ...added],
    })
    await this.#save(made)
    work.end()
    return { ...NOTHING, manifest: made, added, resumed, foreign: await this.#findForeign(made) }
  }

  /** @returns Undefined if retention or a quarantine has taken all its rows since the plan was made. */
  async #write({ range, round }: Omit<Plan, 'files'>, planned: PlannedFile): Promise<ExportedFile | undefined> {
    let file: PlannedFile | undefined = planned
    for (let attempt = 0; attempt < MAX_ATTEMPTS && file !== undefined; attempt++) {
      const written = await this.#writeOnce({ range, round }, file)
      if (written !== undefined) return written
      // The rows of the plan and of the file differ: rows were dropped or quarantined meanwhile.
      ;[file] = await planFiles(this.#analytics, { range, round, of: planned, limit: 1 })
    }
    if (file === undefined) return undefined
    throw changed(pathOf(planned), planned.rows)
  }

  /** @returns Undefined, and writes nothing, if the rows are not as many as the plan says. */
  async #writeOnce({ range, round }: Omit<Plan, 'files'>, file: PlannedFile): Promise<ExportedFile | undefined> {
    const { directory, signal } = this.#options
    signal?.throwIfAborted()
    const path = pathOf(file)
    const digest = await writeWhole(join(directory, path), {
      unfinished: unfinishedIn(directory),
      content: fileBytes(this.#analytics, { range, round, file, signal }),
      accept: async (unfinished) => (await rowsOf(unfinished)) === file.rows,
    })
    return digest === undefined ? undefined : { ...file, path, ...digest }
  }

  /** Compares every file with the manifest, and writes again those that differ. */
  async #check(manifest: Manifest): Promise<ExportReport & { manifest: Manifest }> {
    const { directory, onFile } = this.#options
    const files: ExportedFile[] = []
    const repaired: ExportedFile[] = []
    for (const file of manifest.tables.events.files) {
      if (isSame(file, await digestOf(join(directory, file.path)))) {
        files.push(file)
        continue
      }
      const round = manifest.rounds.find((each) => each.round === file.round)
      const written = round && (await this.#writeOnce({ range: manifest.range, round }, file))
      if (written === undefined) throw changed(file.path, file.rows)
      files.push(written)
      repaired.push(written)
      onFile?.(written)
    }
    const foreign = await this.#findForeign(manifest)
    if (repaired.length === 0) return { ...NOTHING, manifest, foreign }
    const { columns } = manifest.tables.events
    const made = makeManifest({ ...manifest, columns, files })
    await this.#save(made)
    return { ...NOTHING, manifest: made, repaired, foreign }
  }

  async #countLater({ range, rounds }: Manifest): Promise<number> {
    const { ends } = await logEnds(this.#analytics)
    return countRows(this.#analytics, range, stretchesTo(ends, completeTo(rounds)))
  }

  async #findForeign(manifest: Manifest): Promise<string[]> {
    const known = new Set(manifest.tables.events.files.map(({ path }) => path))
    return (await listParquet(this.#options.directory)).filter((path) => !known.has(path))
  }

  async #save(manifest: Manifest): Promise<void> {
    const { directory } = this.#options
    const content = [Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`)]
    await writeWhole(join(directory, MANIFEST), { unfinished: unfinishedIn(directory), content })
    await removeUnfinished(directory)
  }
}

interface Before {
  readonly manifest?: Manifest | undefined
}

function stretchesTo(ends: Cursor, starts: Cursor): Round['stretches'] {
  const from = new Map(starts.map((start) => [`${start.log_id}/${start.partition}`, start.offset]))
  return ends
    .map(({ log_id, partition, offset }) => ({
      log_id,
      partition,
      from: from.get(`${log_id}/${partition}`) ?? 0,
      to: offset,
    }))
    .filter((stretch) => stretch.from < stretch.to)
}

function isSame(one: FileDigest | undefined, other: FileDigest | undefined): other is FileDigest {
  return one !== undefined && one.bytes === other?.bytes && one.sha256 === other.sha256
}

function changed(path: string, rows: number): IntegrityError {
  const message = `${path} is missing or damaged, and the trail no longer has its ${rows} rows: retention or a quarantine has taken some. Export into another folder`
  return new IntegrityError('EXPORT_CHANGED', message)
}

function rangeOf({ since, until, by, agent }: ExportOptions): ExportRange {
  if (since === undefined)
    throw new InvalidInputError('OPTIONS_INVALID', 'an export needs the start of its range: since')
  if (until !== undefined && until <= since) {
    const message = `an empty range: since ${since.toISOString()} is not before until ${until.toISOString()}`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  return {
    since: since.toISOString(),
    until: until?.toISOString() ?? null,
    clock: by ?? 'event_time',
    agent: agent ?? null,
  }
}

/** Two ranges in one folder would give some events twice. What the caller does not name is as the folder has it. */
function checkSame(range: ExportRange, { since, until, by, agent }: ExportOptions, directory: string): void {
  const asked = { since: since?.toISOString(), until: until?.toISOString(), clock: by, agent }
  const differs = Object.entries(asked).filter(
    ([name, value]) => value !== undefined && value !== range[name as keyof ExportRange],
  )
  if (differs.length === 0) return
  const named = differs.map(([name]) => `${name} ${range[name as keyof ExportRange] ?? 'open'}`).join(', ')
  const message = `${directory} holds an export of another range (there: ${named}): give that one, leave it out, or export into another folder`
  throw new InvalidInputError('OPTIONS_INVALID', message)
}
