/** Which part of the log a job judges next: from where it stands, never past a gap. */
import { type Analytics, finalEnd, type LogRange, type StoredPartition } from '@agent-audit/analytics'

/** The next offset of each partition, by `log/partition`. */
export type Positions = ReadonlyMap<string, number>

/** Offsets that one query looks at. */
const STEP = 262_144

/** Remembers what was found to be final: that stays so. */
export class FinalLog {
  readonly #known: Map<string, { from: number; to: number }> = new Map<string, { from: number; to: number }>()

  /**
   * What is new, at most `most` offsets of all partitions together.
   * @param positions - A partition that they do not name is read from its first stored offset.
   */
  async next(
    analytics: Analytics,
    partitions: readonly StoredPartition[],
    { positions, most }: { readonly positions: Positions; readonly most: number },
  ): Promise<LogRange[]> {
    const open = partitions.flatMap(({ log, partition, first, last }) => {
      const from = positions.get(`${log}/${partition}`) ?? first
      return from <= last ? [{ log, partition, from, to: last + 1 }] : []
    })
    const share = Math.ceil(most / Math.max(open.length, 1))
    const ranges: LogRange[] = []
    for (const range of open) {
      const to = await this.#endOf(analytics, { ...range, to: Math.min(range.to, range.from + share) })
      if (to > range.from) ranges.push({ ...range, to })
    }
    return ranges
  }

  async #endOf(analytics: Analytics, range: LogRange): Promise<number> {
    const key = `${range.log}/${range.partition}`
    const known = this.#known.get(key)
    const covers = known !== undefined && known.from <= range.from && range.from <= known.to
    let at = covers ? known.to : range.from
    while (at < range.to) {
      const to = Math.min(at + STEP, range.to)
      const end = await finalEnd(analytics, { ...range, from: at, to })
      at = end
      if (end < to) break
    }
    this.#known.set(key, { from: covers ? known.from : range.from, to: at })
    return Math.min(at, range.to)
  }
}

/** Where a job stands once it has judged these ranges. */
export function moved(positions: Positions, ranges: readonly LogRange[]): Map<string, number> {
  return new Map([...positions, ...ranges.map(({ log, partition, to }) => [`${log}/${partition}`, to] as const)])
}

/** The condition that a row is in one of the ranges, each a range of the primary key, and its parameters. */
export function inRanges(ranges: readonly LogRange[]): { condition: string; params: Record<string, unknown> } {
  const params: Record<string, unknown> = {}
  const conditions = ranges.map(({ log, partition, from, to }, index) => {
    Object.assign(params, {
      [`log${index}`]: log,
      [`partition${index}`]: partition,
      [`from${index}`]: from,
      [`to${index}`]: to,
    })
    return `(log_id = unhex({log${index}:String}) AND log_partition = {partition${index}:Int32}
      AND log_offset >= {from${index}:Int64} AND log_offset < {to${index}:Int64})`
  })
  return { condition: `(${conditions.join(' OR ')})`, params }
}
