/**
 * Every column of every table of rows is changed once, then changes are drawn by a seed: each is found, with its place.
 * `npm run test:tamper -- --changes N --seed S` draws more.
 */
import { type Integrity, ROW_COLUMNS } from '@agent-audit/analytics'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it } from 'vitest'
import { createRandom } from '../../../bench/support/sessions.ts'
import { printLine } from '../../support/print-line.ts'
import { takeSeed } from '../../support/seed.ts'
import { type Change, faultOf, ROW_TABLES, targetOf, type TrailRow } from './change.ts'
import { drawChange } from './changes.ts'
import { type Copy, Copies } from './copies.ts'
import { columnChange } from './row-changes.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`
const CHANGES = Number(process.env['AUDIT_TAMPER_CHANGES'] ?? 40)
/** Most of a verdict is waiting for ClickHouse: several copies of the trail are changed at a time. */
const COPIES = 4
const LONGEST_MS = 10_000

describe.skipIf(!kafka.available)(
  `a sealed trail ${MISSING}`,
  { timeout: 300_000 + CHANGES * LONGEST_MS },
  async () => {
    if (!kafka.available) return
    const copies = await Copies.open()
    const changed: Copy[] = []

    /** A busy machine may cut a connection: that is no verdict. */
    async function verify(copy: Copy, retries = 3): Promise<Integrity> {
      try {
        return await copies.verify(copy)
      } catch (error) {
        if (retries === 0 || !(error instanceof AuditUnavailableError)) throw error
        return verify(copy, retries - 1)
      }
    }

    /** Changes a copy, and restores it. @returns what the verdict lacks */
    async function tryOut(change: Change, copy: Copy): Promise<string | undefined> {
      try {
        for (const statement of change.statements) await copies.run(statement, copy.database)
        return faultOf(change, await verify(copy))
      } catch (error) {
        return String(error).slice(0, 1000)
      } finally {
        for (const table of change.tables) {
          await copies.run(`TRUNCATE TABLE {db}.${table}`, copy.database)
          if (table !== 'audit_quarantined') await copies.refill(copy.database, table)
        }
      }
    }

    /** @returns the changes that are not found or not named */
    async function tryAll(changes: readonly Change[]): Promise<string[]> {
      for (let number = changed.length; number < COPIES; number++) changed.push(await copies.copy())
      const left = changes.entries()
      const faults: string[] = []
      const work = async (copy: Copy): Promise<void> => {
        for (const [index, change] of left) {
          const fault = await tryOut(change, copy)
          if (fault !== undefined) {
            faults.push(`${index}. ${change.kind}: ${change.title}: ${fault}`)
            printLine(faults.at(-1) ?? '')
          }
          if (index % 50 === 49) printLine(`${index + 1} changes, ${faults.length} not found or not named`)
        }
      }
      await Promise.all(changed.map(work))
      return faults
    }

    async function expectClean(): Promise<void> {
      for (const copy of changed) {
        expect(await verify(copy)).toMatchObject({ verdict: 'verified', findings: [] })
      }
    }

    it('every column of both tables: one row gets another value, and is named', async () => {
      const target = await targetOf(copies)
      const random = createRandom(takeSeed('columns'))
      const draw = (count: number): number => Math.floor(random() * count)
      const changes = ROW_TABLES.flatMap((table) => {
        const columns = target.columns[table]
        expect(columns.map(({ name }) => name).toSorted()).toEqual(ROW_COLUMNS[table].toSorted())
        return columns.map((column) => {
          return columnChange(target.rows[table][draw(target.rows[table].length)] as TrailRow, column, draw)
        })
      })
      expect(await tryAll(changes)).toEqual([])
      await expectClean()
    })

    it(`${CHANGES} random changes: each is found, and named`, async () => {
      const target = await targetOf(copies)
      const random = createRandom(takeSeed('random changes'))
      const changes = Array.from({ length: CHANGES }, () => drawChange(target, random))
      const faults = await tryAll(changes)
      const kinds = Object.entries(Object.groupBy(changes, ({ kind }) => kind))
      const counts = kinds.map(([kind, found]) => `${found?.length} ${kind}`).join(', ')
      printLine(`${CHANGES - faults.length} of ${CHANGES} changes found and named: ${counts}`)
      expect(faults).toEqual([])
      await expectClean()
    })
  },
)
