/** The order of the test files: the longest first, so that no worker ends with one while the others have nothing left. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files of more than 10 s, the longest first; what follows is in Vitest's order. Measured on 2 cores. */
const LONG = ['test/start/stop.test.ts', 'test/stack/kafka-cluster.test.ts']

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const rank = ({ moduleId, project }: TestSpecification): number => {
      const place = LONG.indexOf(relative(project.config.root, moduleId))
      return place === -1 ? LONG.length : place
    }
    return sorted.toSorted((one, other) => rank(one) - rank(other))
  }
}
