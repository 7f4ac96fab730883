/** The guards of the consumer's seals. */
import type { Mutation } from './mutations.ts'

const SEALER = 'consumer/src/pipeline/sealing/partition-sealer.ts'
const finder = 'simulation'

export const SEAL_MUTATIONS: readonly Mutation[] = [
  {
    guard: 'the embedded log keeps what is not sealed',
    without: 'lets the embedded log delete records whose seal may have to be made again',
    file: 'consumer/src/pipeline/fence.ts',
    from: '`${state}${metadata}`, keepFrom)',
    to: '`${state}${metadata}`)',
    finder,
  },
  {
    guard: 'a seal that came amid a commit is told',
    without: 'waits for another seal before it tells of one that its topic got while the last commit was sent',
    file: SEALER,
    from: 'this.#progress?.to === undefined ? Promise.resolve() : this.#moved.promise',
    to: 'this.#moved.promise',
    finder: { file: 'test/consumer/idle.test.ts', test: 'and seals the rest' },
  },
  {
    guard: 'a range ends where a commit without one ended',
    without: 'decides the next range while the last commit names another one',
    file: SEALER,
    from: 'this.#carried?.to !== undefined || next - 1 <= progress.last',
    to: 'progress.to !== undefined || next - 1 <= progress.last',
    finder,
  },
  {
    guard: 'the next owner makes the seal under way first',
    without: 'makes the seal of all that the group has committed, whatever the commit names',
    file: SEALER,
    from: 'const end = to ?? (committed?.offset ?? 0) - 1',
    to: 'const end = (committed?.offset ?? 0) - 1',
    finder,
  },
  {
    guard: 'the next owner seals what was committed',
    without: 'seals from its own commits alone',
    file: SEALER,
    from: 'return { last, hash, to: end > last ? end : undefined }',
    to: 'return { last, hash, to: undefined }',
    finder,
  },
  {
    guard: 'a seal follows a commit',
    without: 'seals what is stored before the group has committed it',
    file: SEALER,
    from: 'this.#digest.add(next, { events: block.close(), skipped })',
    to: `this.#digest.add(next, { events: block.close(), skipped })
    this.committed(next)`,
    finder,
  },
  {
    guard: 'rows of an earlier owner are read again',
    without: 'takes a batch for whole that passes over rows of an earlier owner',
    file: SEALER,
    from: 'this.#digest.next !== first || !whole ||',
    to: 'this.#digest.next !== first ||',
    finder,
  },
  {
    guard: 'rows that vanished are hashed again',
    without: 'keeps rows in the hash that the tables turned out not to have',
    file: SEALER,
    from: 'if (next < this.#digest.next) this.#digest.clear()',
    to: '',
    finder,
  },
  {
    guard: 'rows that were stored unseen are read again',
    without: 'goes on behind rows that an unclear insert has stored',
    file: SEALER,
    from: 'return this.#digest.next < next\n',
    to: 'return this.#digest.next < next && false\n',
    finder,
  },
  {
    guard: 'skipped rows in the order of their offsets',
    without: 'hashes skipped rows in the order in which they were found',
    file: 'consumer/src/pipeline/batch.ts',
    from: 'this.skipped.sort((one, other) => one.offset - other.offset)',
    to: '',
    finder,
  },
  {
    guard: 'no seal of a row that is not of its record',
    without: 'takes the first row of an offset, whatever record it says it is',
    file: 'consumer/src/pipeline/sealing/rebuild.ts',
    from: 'return found.length === 1 ? found[0] : undefined',
    to: 'return rows[0]',
    finder: { file: 'test/consumer/rebuild.test.ts', test: 'whatever other rows are at its offset' },
  },
]
