/**
 * `npm run bench:insert` measures what an everyday insert costs ClickHouse by itself, and which parts of the table's definition
 * and of its settings the cost comes from: CPU for an insert of 2,500 rows, and to merge it once. Copies of the table on one
 * server take turns, each with one thing changed.
 */
import { parseArgs } from 'node:util'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import {
  type CopyCost,
  type CopyServer,
  inTurn,
  makeBodies,
  measureCopy,
  migrateCopy,
  onCopyServer,
  spread,
  tableCopy,
} from '../support/table-copies.ts'

const INSERTS = { rows: 2500, count: 12 }

interface Variant {
  readonly name: string
  /** Changes of the table, each behind `ALTER TABLE audit_events`. */
  readonly changes?: readonly string[]
  /** Settings of the insert. */
  readonly settings?: Readonly<Record<string, string>>
}

const NO_INDEXES_AT_INSERT: Variant = {
  name: 'indexes made by the first merge',
  settings: { materialize_skip_indexes_on_insert: '0' },
}
const ONE_EACH: readonly Variant[] = [
  NO_INDEXES_AT_INSERT,
  { name: 'without the bloom filters', changes: ['DROP INDEX by_session', 'DROP INDEX by_event'] },
  { name: 'without the projection', changes: ['DROP PROJECTION accounted'] },
  { name: 'optimize_on_insert = 0', settings: { optimize_on_insert: '0' } },
  { name: 'no sparse columns', changes: ['MODIFY SETTING ratio_of_defaults_for_sparse_serialization = 1'] },
  { name: 'marks not compressed', changes: ['MODIFY SETTING compress_marks = 0, compress_primary_key = 0'] },
  { name: 'without text_is_utf8', changes: ['DROP CONSTRAINT text_is_utf8'] },
  { name: 'without fsync', changes: ['MODIFY SETTING fsync_after_insert = 0, fsync_part_directory = 0'] },
]
const ALL: Variant = {
  name: 'all of these',
  changes: ONE_EACH.flatMap(({ changes = [] }) => changes),
  settings: Object.assign({}, ...ONE_EACH.map(({ settings }) => settings)) as Record<string, string>,
}
const VARIANTS: readonly Variant[] = [{ name: 'as it is' }, { name: 'as it is, again' }, ...ONE_EACH, ALL]
const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } })

await onCopyServer(main)

async function main(on: CopyServer): Promise<void> {
  const bodies = makeBodies()
  const copies = VARIANTS.map(({ name, changes = [], settings = {} }, index) => ({
    copy: tableCopy({ name, database: `variant_${index}`, bodies, settings }),
    changes,
    costs: [] as CopyCost[],
  }))
  for (const { copy, changes } of copies) {
    await migrateCopy(on.admin, copy.database)
    for (const change of changes) await on.admin.command(`ALTER TABLE ${copy.database}.${EVENTS_TABLE} ${change}`)
  }
  // The first round warms caches up.
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const { copy, costs } of inTurn(copies, round)) {
      const cost = await measureCopy(on, copy, INSERTS)
      if (round > 0) costs.push(cost)
    }
  }
  for (const { copy, costs } of copies) {
    const ms = (us: readonly number[]): string => spread(us.map((each) => (each * INSERTS.rows) / 1000))
    process.stdout.write(
      `${copy.name}: ms of CPU ${ms(costs.map(({ insertUs }) => insertUs))} an insert of ${INSERTS.rows} rows, ${ms(costs.map(({ mergeUs }) => mergeUs))} to merge it once\n`,
    )
  }
}
