/** The order of the test files: the longest first, so that no worker ends with a long one while the others are idle. */
import { existsSync } from 'node:fs'
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files of more than 10 s on 2 cores, the longest first. The others follow in Vitest's order. A name without a file is an error. */
const LONG = [
  'test/stack/containers.test.ts',
  'test/consumer/lag.test.ts',
  'test/secured/kafka.test.ts',
  'test/integration/kill.test.ts',
  'test/start/recordings.test.ts',
  'test/start/stop.test.ts',
  'test/integration/back-pressure.test.ts',
  'test/consumer/consumer.test.ts',
  'test/stack/kafka-cluster.test.ts',
  'test/consumer/unclear.test.ts',
  'test/start/bad-files.test.ts',
  'test/stack/kafka-clusters.test.ts',
  'test/producer/delivery/restart.test.ts',
  'test/producer/process/process-life.test.ts',
  'test/producer/process/exit.test.ts',
  'test/producer/delivery/kafkajs-losses.test.ts',
  'test/outage/outage.test.ts',
  'test/producer/delivery/clusters.test.ts',
  'test/producer/delivery/kafka-outage.test.ts',
  'test/consumer/bad-data.test.ts',
  'test/integration/rolling-deploy.test.ts',
  'test/start/fleet.test.ts',
  'test/secured/https.test.ts',
  'test/secured/end-to-end.test.ts',
  'test/cli/why.test.ts',
  'test/analytics/catalogue/hostile.test.ts',
  'test/analytics/export.test.ts',
  'test/cli/tail.test.ts',
  'test/integration/registry.test.ts',
  'test/stack/clickhouse-server.test.ts',
  'test/cli/dead-letters.test.ts',
  'test/integration/stop.test.ts',
  'test/integration/busy-log.test.ts',
  'test/contract/source.test.ts',
  'test/contract/partition-queries.test.ts',
  'test/kill/kill.test.ts',
  'test/cli/setup-kills.test.ts',
]

const gone = LONG.filter((file) => !existsSync(new URL(`../../${file}`, import.meta.url)))
if (gone.length > 0) throw new Error(`longest-first.ts lists files that do not exist: ${gone.join(', ')}`)

function rankOf({ moduleId, project }: TestSpecification): number {
  const rank = LONG.indexOf(relative(project.config.root, moduleId))
  return rank === -1 ? LONG.length : rank
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- no array's
    const sorted = await super.sort(files)
    return sorted.toSorted((one, other) => rankOf(one) - rankOf(other))
  }
}
