/**
 * A sealed trail of one test file, made at its first use, and databases with copies of it that an administrator of ClickHouse
 * changes. `{db}` in a statement is the database of the copy, `{true}` that of the trail.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Analytics, checkIntegrity, connectAnalytics, type Integrity, migrate } from '@agent-audit/analytics'
import type { Trust } from '@agent-audit/seals'
import { afterAll } from 'vitest'
import { openStore, type Store } from '../../consumer/support.ts'
import { makeSealedTrail, type SealedTrail } from '../../support/sealed-trail.ts'
import { storeSealLog } from '../../support/seal-log.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'

/** What an administrator can change. */
export const TABLES = ['audit_events', 'audit_skipped', 'audit_logs', 'audit_seals', 'audit_checkpoints'] as const
export type Table = (typeof TABLES)[number]
const TRUE_DATABASE = 'audit'

export type SealLog = Partial<Pick<SealedTrail, 'notes' | 'checkpoints'>>

/** What verify is given. */
export interface Given {
  readonly trust?: Partial<Trust>
  /** Kept outside. @defaultValue those of the trail */
  readonly checkpoints?: readonly string[]
  readonly sealedWithinMs?: number
}

export interface Copy {
  readonly database: string
  readonly analytics: Analytics
}

/** Settings of a statement of the administrator, who keeps to the constraints of the tables. */
function adminSettings(): Record<string, string> {
  return { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` }
}

export class Copies {
  readonly store: Store
  readonly directory: string
  readonly #brokers: readonly string[]
  readonly #open: Analytics[] = []
  #made: Promise<SealedTrail> | undefined
  readonly #parts = new Map<Table, string[]>()
  #bench: Copy | undefined
  #count = 0

  private constructor(store: Store, brokers: readonly string[], directory: string) {
    this.store = store
    this.#brokers = brokers
    this.directory = directory
  }

  /** At the top of a file or of its `describe`: what it opens is closed after the last test. */
  static async open(): Promise<Copies> {
    const { brokers } = await sharedKafka()
    const directory = mkdtempSync(join(tmpdir(), 'integrity-test-'))
    const copies = new Copies(await openStore(), brokers, directory)
    afterAll(async () => {
      await Promise.all(copies.#open.map((each) => each.close()))
      rmSync(directory, { recursive: true, force: true })
    })
    return copies
  }

  /** Call within a test. */
  trail(): Promise<SealedTrail> {
    this.#made ??= makeSealedTrail(this.store, this.#brokers, this.directory).then(async (trail) => {
      await storeSealLog(this.store, TRUE_DATABASE, trail)
      return trail
    })
    return this.#made
  }

  /** A new database with the rows of the trail, and with its seal log or another one. */
  async copy(seals: SealLog = {}): Promise<Copy> {
    await this.trail()
    const database = `copy_${this.#count++}`
    const analytics = connectAnalytics({ ...this.store.dataDir.admin, database })
    this.#open.push(analytics)
    await migrate(analytics)
    await this.fill(database, seals)
    return { database, analytics }
  }

  /** The one copy that tests change in turns, as the trail is, with its seal log or another one. */
  async bench(seals: SealLog = {}): Promise<Copy> {
    if (this.#bench === undefined) return (this.#bench = await this.copy(seals))
    const { database } = this.#bench
    for (const table of TABLES) await this.run(`TRUNCATE TABLE {db}.${table}`, database)
    await this.fill(database, seals)
    return this.#bench
  }

  /** Fills the tables of a copy, which are empty. */
  async fill(database: string, seals: SealLog = {}): Promise<void> {
    const trail = await this.trail()
    const own = seals.notes !== undefined || seals.checkpoints !== undefined
    for (const table of own ? TABLES.slice(0, 3) : TABLES) await this.refill(database, table)
    if (own) await storeSealLog(this.store, database, { notes: trail.notes, checkpoints: trail.checkpoints, ...seals })
  }

  /** Puts the rows of the trail back into a table of a copy that is empty. */
  async refill(database: string, table: Table): Promise<void> {
    let parts = this.#parts.get(table)
    if (parts === undefined) {
      const rows = await this.store.rows<{ id: string }>(
        `SELECT DISTINCT partition_id AS id FROM system.parts WHERE active AND database = '${TRUE_DATABASE}' AND table = '${table}'`,
      )
      this.#parts.set(table, (parts = rows.map(({ id }) => id)))
    }
    for (const id of parts) {
      await this.run(`ALTER TABLE {db}.${table} ATTACH PARTITION ID '${id}' FROM {true}.${table}`, database)
    }
  }

  /** Runs a statement as the administrator. */
  async run(statement: string, database: string = TRUE_DATABASE): Promise<void> {
    const text = statement.replaceAll('{db}', database).replaceAll('{true}', TRUE_DATABASE)
    const send = (): Promise<string> => this.store.send(text, this.store.dataDir.admin, adminSettings())
    // On a busy machine the server may have closed an idle connection: then it has not seen the statement.
    const answer = await send().catch(send)
    if (answer !== '') throw new Error(answer)
  }

  /** The report on a copy. */
  async verify({ analytics }: Copy, { trust, checkpoints, sealedWithinMs }: Given = {}): Promise<Integrity> {
    const trail = await this.trail()
    return checkIntegrity(analytics, {
      trust: { ...trail.trust, ...trust },
      checkpoints: checkpoints ?? trail.checkpoints,
      sealedWithinMs,
    })
  }

  /** The verdict on the trail after these statements. @param given - fresh: they change more than rows. */
  async after(
    statements: readonly string[],
    given: Given & { readonly seals?: SealLog; readonly fresh?: boolean } = {},
  ): Promise<Integrity> {
    const copy = await (given.fresh === true ? this.copy(given.seals) : this.bench(given.seals))
    for (const statement of statements) await this.run(statement, copy.database)
    return this.verify(copy, given)
  }
}
