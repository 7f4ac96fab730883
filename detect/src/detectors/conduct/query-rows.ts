/** What the queries about conduct share. */
import type { RowSchema } from '@agent-audit/analytics'

export const EVENTS = '{database:Identifier}.audit_events'
export const OF_WINDOW = `agent_id IN {agents:Array(String)} AND timestamp >= {since:DateTime64(6)} AND timestamp < {until:DateTime64(6)}`

/** Rows of texts and numbers. Servers differ in how their JSON gives 64-bit integers: as text or as numbers. */
export function rowsOf<Texts extends string, Numbers extends string>(
  texts: readonly Texts[],
  numbers: readonly Numbers[],
): RowSchema<Record<Texts, string> & Record<Numbers, number>> {
  return {
    parse(row) {
      const values = row as Readonly<Record<string, unknown>>
      const read = [
        ...texts.map((name) => [name, typeof values[name] === 'string' ? values[name] : '']),
        ...numbers.map((name) => [name, Number(values[name])]),
      ]
      return Object.fromEntries(read) as Record<Texts, string> & Record<Numbers, number>
    },
  }
}
