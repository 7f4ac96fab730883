/**
 * A run sends to one cluster, the first that it reaches, and from the spools of dead runs only what was recorded for that
 * cluster: events never go to another one unless the option `toAnyCluster` says so.
 */
import { dirname } from 'node:path'
import { IntegrityError } from '@agent-audit/schemas'
import type { SpoolFeed } from './spool-feed.ts'
import type { DeliverySettings } from './protocol.ts'

export class OneCluster {
  readonly #settings: Pick<DeliverySettings, 'durability' | 'spoolDir' | 'toAnyCluster'>
  readonly #report: (problem: Error) => void
  #reached: string | undefined
  /** Files of other clusters that were reported. */
  readonly #reported: Set<string> = new Set<string>()

  constructor(settings: DeliverySettings, report: (problem: Error) => void) {
    this.#settings = settings
    this.#report = report
  }

  /**
   * A client has reached a cluster.
   * @throws IntegrityError `CLUSTER_CHANGED` when the run belongs to another one: the client must send nothing.
   */
  reach(cluster: string): void {
    const before = this.#reached
    if (before === undefined || this.#settings.toAnyCluster) this.#reached = cluster
    if (before === undefined || before === cluster) return
    const now = `the broker is of cluster ${cluster} now; this run recorded for cluster ${before}`
    const problem = new IntegrityError('CLUSTER_CHANGED', `${now} and ${this.#consequence(cluster)}`)
    if (!this.#settings.toAnyCluster) throw problem
    this.#report(problem)
  }

  #consequence(cluster: string): string {
    const { durability, toAnyCluster } = this.#settings
    if (toAnyCluster) return 'goes on with the new one, as toAnyCluster allows'
    const restart = `A restart of the agent records for ${cluster}`
    if (durability !== 'disk') return `keeps its events in memory until that one is back. ${restart}, and drops them`
    return `keeps its events on disk until that one is back. ${restart}; after it, ${this.#command()} sends them there too`
  }

  #command(): string {
    // The directory that the operator named holds one directory a topic.
    return `"agent-audit spool drain ${dirname(this.#settings.spoolDir)} --to-any"`
  }

  /** The spools among these that this run must not send. Reports each file once. */
  others(feeds: readonly SpoolFeed[]): readonly SpoolFeed[] {
    if (this.#reached === undefined) return []
    const others = feeds.filter(({ spool }) => spool.cluster !== undefined && spool.cluster !== this.#reached)
    const unreported = others.filter(({ spool }) => !this.#reported.has(spool.file))
    if (unreported.length > 0) this.#reportOthers(unreported)
    return this.#settings.toAnyCluster ? [] : others
  }

  #reportOthers(feeds: readonly SpoolFeed[]): void {
    for (const { spool } of feeds) this.#reported.add(spool.file)
    const { toAnyCluster, spoolDir } = this.#settings
    const clusters = [...new Set(feeds.map(({ spool }) => spool.cluster))].join(', ')
    const subject = `${feeds.length} ${feeds.length === 1 ? 'spool' : 'spools'} in ${spoolDir} recorded for cluster ${clusters}`
    const message = toAnyCluster
      ? `sending ${subject} to cluster ${this.#reached}, as toAnyCluster allows`
      : `left ${subject}: the broker is of cluster ${this.#reached}. ${this.#command()} sends them to any cluster`
    this.#report(new IntegrityError('CLUSTER_CHANGED', message))
  }
}
