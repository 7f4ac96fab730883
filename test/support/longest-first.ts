/** The order of the test files: the longest first, so that no worker ends with a long one while the others are idle. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files of more than 10 s on 2 cores, the longest first. The others follow in Vitest's order. */
const LONG = ['test/start/stop.test.ts', 'test/stack/kafka-cluster.test.ts']

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
