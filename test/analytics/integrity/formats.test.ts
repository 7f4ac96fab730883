/** Row form 1 is what the consumer inserts, and a sink's file is read note by note. */
import { ROW_COLUMNS, splitNotes } from '@agent-audit/analytics'
import { BLOCK_COLUMNS } from '@agent-audit/consumer/pipeline'
import { expect, it } from 'vitest'

it('the columns that verify reads are those that the consumer inserts and seals', () => {
  expect(ROW_COLUMNS).toEqual(BLOCK_COLUMNS)
})

const note = (name: string, signatures: number): string => `${name}\n1\nroot\n\n${'— notary AAAA\n'.repeat(signatures)}`

it.each([
  ['nothing', '', []],
  ['one note', note('a', 2), [note('a', 2)]],
  ['notes one behind the other', note('a', 2) + note('b', 1), [note('a', 2), note('b', 1)]],
  ['empty lines between them', `\n${note('a', 1)}\n\n${note('b', 2)}\n`, [note('a', 1), note('b', 2)]],
  ['a cut note at the end', `${note('a', 1)}b\n2\nro`, [note('a', 1), 'b\n2\nro']],
])('a file of checkpoints: %s', (_, file, notes) => {
  expect(splitNotes(file)).toEqual(notes)
})
