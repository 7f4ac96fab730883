/** What the main job needs of the consumer beside its process: a log that nobody wrote from yet is marked so. */
interface FreshLogs {
  makeEmbeddedTopic(directory: string, log: { topic: string; groupId: string }, partitions: number): string
  markKafkaLogClean(
    connection: { brokers: readonly string[]; ssl: boolean; sasl: unknown },
    log: { topic: string; groupId: string },
  ): Promise<void>
}

/** By name at run time: the consumer is no dependency of the stack's build. */
const CONSUMER: string = '@agent-audit/consumer'

export async function importFreshLogs(): Promise<FreshLogs> {
  return (await import(CONSUMER)) as FreshLogs
}
