/** For tests that start their own Kafka, to kill it or to hold it: settings for a quick return, and a quick end. */
import type { KafkaCluster } from '@agent-audit/stack'

/** A killed broker may come back once its old session has expired: after 2 s, not after the 5 s of other clusters. */
export const SOON_BACK: Readonly<Record<string, string>> = {
  'broker.session.timeout.ms': '2000',
  'broker.heartbeat.interval.ms': '400',
}

/**
 * Stops a cluster and drops its data. Three nodes that stop in order lose their quorum on the way, and the last
 * ones wait 5 s for it: they are killed.
 */
export async function endCluster(cluster: KafkaCluster): Promise<void> {
  if (cluster.nodes.length > 1) await Promise.all(cluster.nodes.map((node) => node.kill()))
  await cluster.stop()
}
