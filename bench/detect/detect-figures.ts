/** What the benchmark of the detectors measures, as its results keep it. */

/** The detectors as jobs. */
export interface DetectPart {
  /** Events of the made day. */
  readonly rows: number
  readonly partitions: number
  readonly run: {
    readonly events: number
    readonly sessions: number
    readonly findings: number
    readonly seconds: number
    readonly cpuSeconds: number
    readonly peakMb: number
  }
  readonly watch: {
    readonly eventsPerSecond: number
    /** Most that the detectors of sessions, and those with queries, were behind. */
    readonly sessionLagSeconds: number
    readonly queryLagSeconds: number
    readonly peakMb: number
  }
}
