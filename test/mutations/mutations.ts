/** The guards of the protocol, and how each is switched off: a text of the source, and its replacement. */
import { SEAL_MUTATIONS } from './seals.ts'
import { SHARED_INSERT_MUTATIONS } from './shared-inserts.ts'

/** How a switched-off guard is found: by a simulation, or by a test. */
export type Finder = 'simulation' | { readonly file: string; readonly test: string }

export interface Mutation {
  readonly guard: string
  /** What the code does without it. */
  readonly without: string
  readonly file: string
  /** Occurs in the file exactly once. */
  readonly from: string
  readonly to: string
  readonly finder: Finder
}

const SINK = 'test/contract/sink.test.ts'
const SOURCE = 'test/contract/source.test.ts'
const [FENCE, RECOVER, WRITER] = ['fence', 'recover', 'partition-writer'].map(
  (name) => `consumer/src/pipeline/${name}.ts`,
) as [string, string, string]
const PROCESS_LIST = 'while ((await sink.runningInserts(assignment)) > 0) await options.sleep(POLL_MS)'
const RANGES = `const stored = await sink.accounted(assignment, from)
    const ranges = union([...stored, ...(await sink.expired(assignment, from))])`
const CLOCK = 'await waitForClock(sink, fencedAt + options.leaseMs + options.marginMs, options)'

export const MUTATIONS: readonly Mutation[] = [
  {
    guard: 'fence',
    without: 'inserts without a commit before',
    file: FENCE,
    from: 'await this.#commit(next, `busy ${fencedAt}`)',
    to: '',
    finder: 'simulation',
  },
  {
    guard: 'generation of the fence',
    without: 'treats a refused commit as acknowledged',
    file: FENCE,
    from: "if (answer === 'acknowledged')",
    to: "if (answer !== 'unanswered')",
    finder: 'simulation',
  },
  {
    guard: 'rejoin after an unanswered commit',
    without: 'treats an unanswered commit as acknowledged',
    file: FENCE,
    from: "if (answer === 'acknowledged')",
    to: "if (answer !== 'refused')",
    finder: 'simulation',
  },
  {
    guard: 'a renewal ends the lease',
    without: 'goes on inserting under the old lease after a failed renewal',
    file: FENCE,
    from: 'this.#lease = undefined\n    await this.#commit(next, `busy ${fencedAt}`)',
    to: `const old = this.#lease
    try {
      await this.#commit(next, \`busy \${fencedAt}\`)
    } catch (error) {
      if (old !== undefined) return old
      throw error
    }`,
    finder: { file: 'test/consumer/renewal.test.ts', test: 'sends no insert' },
  },
  {
    guard: 'clean ends the lease',
    without: 'goes on inserting under the old lease after it committed "clean"',
    file: FENCE,
    from: 'this.#lease = undefined\n    await this.#commit(next, CLEAN)',
    to: 'this.#renewAt = this.#clock.now() + this.#options.renewMs\n    await this.#commit(next, CLEAN)',
    finder: 'simulation',
  },
  {
    guard: 'deadline',
    without: 'gives inserts a deadline an hour away',
    file: FENCE,
    from: 'deadline: fencedAt + this.#options.leaseMs',
    to: 'deadline: fencedAt + 3_600_000',
    finder: 'simulation',
  },
  {
    guard: 'deadline, as ClickHouse sees it',
    without: 'sends a later deadline than that of the lease',
    file: 'consumer/src/store/clickhouse-sink.ts',
    from: 'log_comment: `${fencedAt} ${deadline}`',
    to: 'log_comment: `${fencedAt} ${deadline + 3_600_000}`',
    finder: { file: SINK, test: 'comes after its deadline' },
  },
  ...SHARED_INSERT_MUTATIONS,
  ...SEAL_MUTATIONS,
  {
    guard: 'waiting on "busy"',
    without: 'reads the tables while inserts of the previous owner may still land',
    file: RECOVER,
    from: "state.kind === 'busy' ? state.fencedAt : joinedAt",
    to: "state.kind === 'busy' ? 0 : joinedAt",
    finder: 'simulation',
  },
  {
    guard: 'waiting without metadata',
    without: 'does not wait where the committed metadata is gone',
    file: RECOVER,
    from: "state.kind === 'busy' ? state.fencedAt : joinedAt",
    to: "state.kind === 'busy' ? state.fencedAt : 0",
    finder: 'simulation',
  },
  {
    guard: 'process list',
    without: 'does not look for inserts that are still running',
    file: RECOVER,
    from: PROCESS_LIST,
    to: '',
    finder: 'simulation',
  },
  {
    guard: 'process list after the clock',
    without: 'checks for running inserts first, then waits for the clock',
    file: RECOVER,
    from: `${CLOCK}\n  ${PROCESS_LIST}`,
    to: `${PROCESS_LIST}\n  ${CLOCK}`,
    finder: 'simulation',
  },
  {
    guard: 'read-back after an unclear answer',
    without: 'sends the batch again without reading the tables',
    file: WRITER,
    from: 'observer.recovering()\n      await this.#recover()',
    to: 'observer.recovering()',
    finder: 'simulation',
  },
  {
    guard: 'exclusion of accounted offsets above `next`',
    without: 'writes them again',
    file: 'consumer/src/pipeline/cut.ts',
    from: 'this.#above = input.above',
    to: 'this.#above = []',
    finder: 'simulation',
  },
  {
    guard: 'rows above the gap are compared',
    without: 'passes over a forged row without comparing it with the record there',
    file: 'consumer/src/pipeline/compare.ts',
    from: 'await expectSameRecords(slice, ranges, parts)',
    to: '',
    finder: 'simulation',
  },
  {
    guard: 'rows in quarantine since recovery',
    without: 'passes over an offset whose row came into quarantine after recovery had read the tables',
    file: 'consumer/src/pipeline/compare.ts',
    from: 'if (!compared.has(offset) && !(await isExpired(offset, parts))) throw new QuarantinedSince()',
    to: '',
    finder: { file: 'test/consumer/quarantine.test.ts', test: 'while its partition is taken over' },
  },
  {
    guard: 'rows above the committed offset are compared',
    without: 'compares the last row below the gap alone with the log',
    file: RECOVER,
    from: 'Math.max(start, compareFrom(state, base, gap.next))',
    to: 'Math.max(start, gap.next - 1)',
    finder: 'simulation',
  },
  {
    guard: 'count read back before a commit',
    without: 'commits an offset without counting the rows below it',
    file: FENCE,
    from: 'if (found !== next - range.first) throw new RowsMissing(range, found)',
    to: '',
    finder: 'simulation',
  },
  {
    guard: 'quarantined rows do not count',
    without: 'counts a quarantined row as that of the record which replaces it',
    file: FENCE,
    from: ' - (await this.#countQuarantined(range))',
    to: '',
    finder: { file: 'test/consumer/quarantine.test.ts', test: 'that row does not count for it' },
  },
  {
    guard: 'clean only with nothing above',
    without: 'says "clean" below offsets that are accounted for',
    file: 'consumer/src/pipeline/idle.ts',
    from: ' || next <= (above.at(-1)?.last ?? -1)',
    to: '',
    finder: 'simulation',
  },
  {
    guard: 'clean only with compared rows',
    without: 'says "clean" above rows of an earlier owner that are not compared with the log yet',
    file: 'consumer/src/pipeline/idle.ts',
    from: ' || readFrom < next',
    to: '',
    finder: { file: 'test/consumer/idle.test.ts', test: 'before they are compared with the log' },
  },
  {
    guard: 'exact duplicate look-up',
    without: 'treats every record not above the highest run_seq as a duplicate',
    file: 'consumer/src/pipeline/duplicates.ts',
    from: 'if (record !== undefined) duplicates.set(position, record)',
    to: "duplicates.set(position, record ?? { ...identityAt(batch, position), offset: 0, eventId: '' })",
    finder: 'simulation',
  },
  {
    guard: 'records of the batch before are suspect',
    without: 'lets a record pass that is in the batch before, which is not in the table yet',
    file: 'consumer/src/pipeline/duplicates.ts',
    from: ': Math.max(known.stored, known.cut)',
    to: ': known.stored',
    finder: 'simulation',
  },
  {
    guard: 'bytes of duplicates',
    without: 'drops the bytes of a record whose number is stored already',
    file: 'consumer/src/pipeline/batch.ts',
    from: 'runSeq }, offset, logTimeMs, record })',
    to: 'runSeq }, offset, logTimeMs, record: undefined })',
    finder: 'simulation',
  },
  {
    guard: 'new duplicate filter after an unclear insert',
    without: 'keeps the old filter, which does not know the rows of that insert',
    file: WRITER,
    from: 'this.#filter = new DuplicateFilter(this.#assignment, this.#parts.sink)\n  }\n\n  async #goOn',
    to: '}\n\n  async #goOn',
    finder: 'simulation',
  },
  {
    guard: 'committed offset and tables of one moment',
    without: 'compares the committed offset at its start with the tables at its end',
    file: RECOVER,
    from: 'if (isSame(committed, now.committed)) ',
    to: '',
    finder: 'simulation',
  },
  {
    guard: 'expiry notes',
    without: 'treats offsets that retention has dropped as never stored',
    file: RECOVER,
    from: RANGES,
    to: 'const ranges = await sink.accounted(assignment, from)',
    finder: 'simulation',
  },
  {
    guard: 'expiry notes after the tables',
    without: 'reads the expiry notes first, then the tables',
    file: RECOVER,
    from: RANGES,
    to: `const notes = await sink.expired(assignment, from)
    const ranges = union([...(await sink.accounted(assignment, from)), ...notes])`,
    finder: 'simulation',
  },
  {
    guard: 'epoch check',
    without: 'commits for an assignment whose epoch has ended',
    file: 'kafka/src/kafka-assignment.ts',
    from: "if (this.ended.aborted) return 'refused'",
    to: '',
    finder: { file: SOURCE, test: 'commits nothing any more' },
  },
  {
    guard: 'one block (squash settings)',
    without: "lets the server's own thresholds cut an insert into blocks",
    file: 'consumer/src/store/clickhouse-sink.ts',
    from: "min_insert_block_size_rows: '1000000000',\n  min_insert_block_size_bytes: '0',\n  max_insert_block_size: '1000000000',",
    to: '',
    finder: { file: 'test/contract/one-block.test.ts', test: 'leaves nothing' },
  },
]

/** @throws Error if the mutation does not apply to the source: then it has to be rewritten. */
export function mutate(source: string, { guard, file, from, to }: Mutation): string {
  const found = source.split(from).length - 1
  if (found !== 1) throw new Error(`${guard}: expected this once in ${file}, found it ${found} times:\n${from}`)
  return source.replace(from, () => to)
}
