/** What one part of the judgement is: a data set, what the detectors find in it, and what is wanted of them. */

/** A table of the report. */
export interface ReportTable {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (string | number)[])[]
}

/** A figure with its bound. */
export interface Target {
  readonly name: string
  readonly wanted: string
  readonly got: number
  readonly met: boolean
}

export interface Section {
  readonly title: string
  /** What was judged, on which half, against what. */
  readonly text: readonly string[]
  readonly tables: readonly ReportTable[]
  readonly targets: readonly Target[]
  /** What the detectors miss or accuse wrongly, with examples. */
  readonly misses: readonly string[]
}

export interface JudgePart {
  readonly name: string
  /** @returns Its section; a text that says why it cannot be judged here (a data set is absent). */
  run(options: { readonly seed: number }): Promise<Section | string>
}
