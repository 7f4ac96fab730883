/** The guards of inserts with rows of several partitions. */
import type { Mutation } from './mutations.ts'

const SHARED = 'consumer/src/pipeline/shared-inserts.ts'
const SHARED_TEST = 'test/consumer/shared-inserts.test.ts'

export const SHARED_INSERT_MUTATIONS: readonly Mutation[] = [
  {
    guard: 'earliest lease of a shared insert',
    without: 'gives a shared insert the latest lease of its partitions',
    file: SHARED,
    from: 'deadline: Math.min(',
    to: 'deadline: Math.max(',
    finder: { file: SHARED_TEST, test: 'under the earliest lease' },
  },
  {
    guard: 'query id of a shared insert',
    without: 'names one partition of a shared insert in its query id',
    file: 'consumer/src/pipeline/sink.ts',
    from: 'logPartitions.map(nameOf)',
    to: 'logPartitions.slice(0, 1).map(nameOf)',
    finder: 'simulation',
  },
  {
    guard: 'no piece of a lost epoch',
    without: 'sends rows of a partition that it has lost while they waited for others',
    file: SHARED,
    from: 'return ended.aborted',
    to: 'return false',
    finder: { file: SHARED_TEST, test: 'whose epoch has ended' },
  },
  {
    guard: 'one token for all sends',
    without: 'sends a refused insert again under another token',
    file: SHARED,
    from: '      token,\n      fencedAt',
    to: "      token: token + randomBytes(4).toString('hex'),\n      fencedAt",
    finder: 'simulation',
  },
  {
    guard: 'refused insert as a whole',
    without: 'splits a refused insert into one for each partition, under tokens of their own',
    file: SHARED,
    from: 'waiting = await this.#rest(waiting, pauseMs)',
    to: 'waiting = await this.#rest(waiting, pauseMs)\n      if (waiting.length > 1) return waiting.forEach((one) => this.#start([one]))',
    finder: 'simulation',
  },
  {
    guard: 'busy after a refused insert',
    without: 'leaves a partition clean whose refused insert a proxy may still keep a copy of',
    file: 'consumer/src/pipeline/partition-writer.ts',
    from: "if (outcome.kind === 'stopped') throw",
    to: "if (outcome.kind === 'stopped') await this.#idle.leaveClean(this.#at)\n    if (outcome.kind === 'stopped') throw",
    finder: 'simulation',
  },
]
