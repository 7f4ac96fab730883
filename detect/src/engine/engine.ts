/**
 * Runs detectors over what is new in the log. Each detector has a cursor of its own, which moves once the findings below it are
 * stored: a worker that is killed, or that runs beside another one, judges some events twice, and their findings are the same.
 *
 * A detector that fails is a finding. One whose SQL fails waits where it stands. One that throws at a session goes on with the
 * others, so that no session hides what is behind it, while its stored cursor stays: it judges from there once more after a
 * pause, and after a restart.
 */
import { randomUUID } from 'node:crypto'
import {
  type Analytics,
  checkGrants,
  type LogRange,
  storedPartitions,
  withoutQuarantined,
} from '@agent-audit/analytics'
import { candidatesOf, type Detector, type QueryDetector, type SessionDetector, type Thresholds } from '../detector.ts'
import { storeFindings } from '../findings/store-findings.ts'
import { loadCursors, saveCursors, saveRun } from './cursors.ts'
import { FinalLog, moved } from './final-log.ts'
import { isOfStore, Judge } from './judge.ts'
import { pagesOf, readPage, type SessionLimits } from './session-pages.ts'
import { Standing } from './standing.ts'
import { agentsIn, type Candidate, candidatesIn, type Touched, touchedBy } from './touched.ts'
import { windowsOf } from './query-windows.ts'

export interface EngineOptions {
  readonly detectors: readonly Detector[]
  /** Thresholds that replace a detector's own, by its name. */
  readonly thresholds?: Readonly<Record<string, Thresholds>> | undefined
  /** Most offsets that are judged together. @defaultValue 1000000 */
  readonly windowOffsets?: number | undefined
  /** Of a longer session its last events are judged. @defaultValue 5000 events, 32 MiB */
  readonly session?: SessionLimits | undefined
  /** Events of a session that the log appended so much earlier than the new ones are not judged with them. @defaultValue 7 */
  readonly sessionDays?: number | undefined
}

/** What one call judged. */
export interface Judged {
  /** New events. */
  readonly events: number
  /** Sessions that were read. */
  readonly sessions: number
  /** Findings that were not known before. */
  readonly findings: number
  /** Detectors that failed, by name. */
  readonly failed: readonly string[]
  /** How long the oldest of the events had been in the log when it was judged, milliseconds; 0 without events. */
  readonly lagMs: number
  /** Whether the log had something new. */
  readonly moved: boolean
}

const WINDOW_OFFSETS = 1_000_000
const SESSION: SessionLimits = { events: 5000, bytes: 32 * 2 ** 20 }
const SESSION_DAYS = 7
const DAY_MS = 86_400_000
/** Findings in memory. */
const MOST_HELD = 500
/** Silence is looked for so often. */
const ALWAYS_EVERY_MS = 60_000
const NOTHING: Judged = { events: 0, sessions: 0, findings: 0, failed: [], lagMs: 0, moved: false }

export class Engine {
  /** Names this worker in the rows that it writes. */
  readonly run: string = randomUUID()
  readonly #connection: Analytics
  readonly #options: EngineOptions
  readonly #log = new FinalLog()
  readonly #errors = new Set<string>()
  #standings: readonly Standing[] | undefined
  #alwaysAt = 0

  /** @param connection - As a user that may insert findings, such as audit_detector. */
  constructor(connection: Analytics, options: EngineOptions) {
    this.#connection = connection
    this.#options = options
  }

  /**
   * Checks that the user reads the trail and inserts findings, and may do nothing else.
   * @throws IntegrityError `GRANTS_TOO_WIDE` or `ACCESS_DENIED`; TrailError if the store is away.
   */
  async checkUser(): Promise<void> {
    await checkGrants(this.#connection, 'detector')
  }

  /**
   * Judges the sessions that the next part of the log touches. `moved` is false at the end of the log.
   * @param signal - Ends the work between two pages; what was found is stored, and found again later.
   * @throws TrailError if the store is away, or refuses the user: call again.
   */
  async judgeSessions(signal?: AbortSignal): Promise<Judged> {
    const most = this.#options.windowOffsets ?? WINDOW_OFFSETS
    return this.#forGroups('session', most, (analytics, work) => this.#judgeSessions(analytics, work, signal))
  }

  /** Runs the query detectors on all that is new. Throws as {@link judgeSessions}. */
  async judgeQueries(signal?: AbortSignal): Promise<Judged> {
    const judged = await this.#forGroups('query', Infinity, (analytics, work) =>
      this.#judgeQueries(analytics, work, signal),
    )
    const isDue = !judged.moved && Date.now() - this.#alwaysAt >= ALWAYS_EVERY_MS
    return isDue ? this.#judgeSilence() : judged
  }

  async #standing(unit: Detector['unit']): Promise<Standing[]> {
    if (this.#standings === undefined) {
      const cursors = await loadCursors(this.#connection)
      const detectors = this.#options.detectors
      this.#standings = detectors.map((detector) => new Standing(detector, cursors.get(detector.name)))
    }
    const now = Date.now()
    return this.#standings.filter((each) => each.detector.unit === unit && each.isAwake(now))
  }

  /** Detectors that stand at the same place are run together. */
  async #forGroups(
    unit: Detector['unit'],
    most: number,
    judge: (analytics: Analytics, work: Work) => Promise<Judged>,
  ): Promise<Judged> {
    const standings = await this.#standing(unit)
    const { analytics } = await withoutQuarantined(this.#connection)
    const partitions = await storedPartitions(analytics)
    let sum = NOTHING
    for (const group of Map.groupBy(standings, ({ place }) => place).values()) {
      const positions = group[0]?.positions ?? new Map<string, number>()
      const ranges = await this.#log.next(analytics, partitions, { positions, most })
      if (ranges.length > 0) sum = added(sum, await judge(analytics, { standings: group, ranges }))
    }
    return sum
  }

  async #judgeSessions(analytics: Analytics, work: Work, signal?: AbortSignal): Promise<Judged> {
    const started = performance.now()
    const [touched, judge] = [await touchedBy(analytics, work.ranges), this.#newJudge()]
    const asleep = new Set<string>()
    const counts = { sessions: 0, findings: 0 }
    if (touched.events > 0) {
      const sinceMs = touched.firstLogTime - (this.#options.sessionDays ?? SESSION_DAYS) * DAY_MS
      const { detectors, candidates } = await this.#candidates(analytics, { ...work, sinceMs, judge })
      for (const name of judge.failed) asleep.add(name)
      const limits = this.#options.session ?? SESSION
      for (const page of pagesOf(candidates, limits.events)) {
        if (signal?.aborted === true) return { ...NOTHING, findings: counts.findings + (await this.#store(judge)) }
        for await (const read of readPage(analytics, page, { limits, sinceMs })) {
          counts.sessions++
          judge.session(detectors, read)
          if (judge.held >= MOST_HELD) counts.findings += await this.#store(judge)
        }
      }
    }
    counts.findings += await this.#store(judge)
    return this.#finish(work, { judge, asleep, touched, started, ...counts })
  }

  /** The candidates of all detectors by one query, or of those whose expressions work. */
  async #candidates(
    analytics: Analytics,
    { standings, ranges, sinceMs, judge }: Work & { readonly sinceMs: number; readonly judge: Judge },
  ): Promise<{ detectors: SessionDetector[]; candidates: Candidate[] }> {
    const detectors = standings.map(({ detector }) => detector as SessionDetector)
    const candidatesOfAll = (some: readonly SessionDetector[]): Promise<Candidate[]> => {
      const conditions = some.map((detector) => candidatesOf(detector, this.#thresholds(detector)))
      return candidatesIn(analytics, { ranges, conditions, sinceMs })
    }
    try {
      return { detectors, candidates: await candidatesOfAll(detectors) }
    } catch (error) {
      if (isOfStore(error)) throw error
    }
    const working: SessionDetector[] = []
    for (const detector of detectors) {
      try {
        await candidatesOfAll([detector])
        working.push(detector)
      } catch (error) {
        if (isOfStore(error)) throw error
        judge.fail(detector, error)
      }
    }
    if (working.length === 0) return { detectors: [], candidates: [] }
    return { detectors: working, candidates: await candidatesOfAll(working) }
  }

  async #judgeQueries(analytics: Analytics, work: Work, signal?: AbortSignal): Promise<Judged> {
    const started = performance.now()
    const [touched, judge] = [await touchedBy(analytics, work.ranges), this.#newJudge()]
    let findings = 0
    if (touched.events > 0) {
      const windows = windowsOf(await agentsIn(analytics, work.ranges), touched.now)
      for (const detectors of ofEqualRows(work.standings)) {
        for (const window of windows) {
          if (signal?.aborted === true) return { ...NOTHING, findings: findings + (await this.#store(judge)) }
          await judge.query(analytics, detectors, window)
        }
        findings += await this.#store(judge)
      }
      this.#alwaysAt = Date.now()
    }
    return this.#finish(work, { judge, asleep: judge.failed, touched, started, sessions: 0, findings })
  }

  /** The detectors that also run when nothing is new. */
  async #judgeSilence(): Promise<Judged> {
    this.#alwaysAt = Date.now()
    const standings = (await this.#standing('query')).filter(({ detector }) => (detector as QueryDetector).always)
    if (standings.length === 0) return NOTHING
    const { analytics } = await withoutQuarantined(this.#connection)
    const [row] = await analytics.rows<{ now: number | string }>('SELECT toUnixTimestamp64Milli(now64(3)) AS now')
    const [until, judge] = [new Date(Number(row?.now)), this.#newJudge()]
    const since = new Date(Math.floor(until.getTime() / 3_600_000) * 3_600_000)
    for (const detectors of ofEqualRows(standings)) {
      await judge.query(analytics, detectors, { agents: [], since, until })
    }
    return { ...NOTHING, findings: await this.#store(judge), failed: [...judge.failed] }
  }

  /** Moves the cursors, and notes the run. All findings are stored. */
  async #finish(work: Work, done: Done): Promise<Judged> {
    const { judge, asleep, touched, started, sessions, findings } = done
    const now = Date.now()
    const positions = moved(work.standings[0]?.positions ?? new Map<string, number>(), work.ranges)
    for (const standing of work.standings) {
      const { name } = standing.detector
      if (judge.failed.has(name)) standing.noteFailure(now, asleep.has(name))
      if (!asleep.has(name)) standing.moveTo(positions)
    }
    const saved = work.standings.filter(({ isHeld }) => !isHeld).map(({ detector }) => detector.name)
    await saveCursors(this.#connection, saved, positions)
    const tookMs = Math.round(performance.now() - started)
    const names = work.standings.map(({ detector }) => detector.name)
    const failed = [...judge.failed]
    const { events } = touched
    if (events > 0) {
      await saveRun(this.#connection, { run: this.run, detectors: names, failed, events, sessions, findings, tookMs })
    }
    const lagMs = events === 0 ? 0 : Math.max(0, touched.now - touched.firstLogTime + tookMs)
    return { events, sessions, findings, failed, lagMs, moved: true }
  }

  async #store(judge: Judge): Promise<number> {
    return (await storeFindings(this.#connection, this.run, judge.take())).length
  }

  #thresholds({ name, thresholds }: Detector): Thresholds {
    return { ...thresholds, ...this.#options.thresholds?.[name] }
  }

  #newJudge(): Judge {
    return new Judge((detector) => this.#thresholds(detector), this.#errors)
  }
}

/** Query detectors that read the same rows: with equal SQL and the same schema. Each list is asked once. */
function ofEqualRows(standings: readonly Standing[]): QueryDetector[][] {
  const lists: QueryDetector[][] = []
  for (const detector of standings.map((standing) => standing.detector as QueryDetector)) {
    const same = lists.find(([one]) => one?.sql === detector.sql && one.schema === detector.schema)
    if (same === undefined) lists.push([detector])
    else same.push(detector)
  }
  return lists
}

interface Work {
  readonly standings: readonly Standing[]
  readonly ranges: readonly LogRange[]
}

interface Done {
  readonly judge: Judge
  /** Detectors that have judged nothing of the ranges. */
  readonly asleep: ReadonlySet<string>
  readonly touched: Touched
  readonly started: number
  readonly sessions: number
  readonly findings: number
}

function added(one: Judged, other: Judged): Judged {
  return {
    events: Math.max(one.events, other.events),
    sessions: one.sessions + other.sessions,
    findings: one.findings + other.findings,
    failed: [...new Set([...one.failed, ...other.failed])],
    lagMs: Math.max(one.lagMs, other.lagMs),
    moved: one.moved || other.moved,
  }
}
