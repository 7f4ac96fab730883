/** Row form 1 is what the consumer inserts, and a sink's file is read note by note. */
import { ROW_COLUMNS, splitNotes } from '@agent-audit/analytics'
import { BLOCK_COLUMNS } from '@agent-audit/consumer/pipeline'
import { checkpointLine, generateKey, signCheckpoint, signerFromPem } from '@agent-audit/seals'
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

it("the lines of the notary's file and standard output are checkpoints, a torn one is none, and notes may stand beside", () => {
  const signer = signerFromPem(generateKey('notary-1'))
  const [one, two] = [1, 2].map((size) => {
    const checkpoint = { origin: 'trail.example/seals', size, root: Buffer.alloc(32, size) }
    return signCheckpoint(signer, checkpoint, 1_795_000_000)
  }) as [string, string]
  const torn = checkpointLine(two).slice(0, 200)
  expect(splitNotes(`${checkpointLine(one)}${torn}\n${checkpointLine(two)}${torn}`)).toEqual([one, two])
  expect(splitNotes(`${checkpointLine(one)}${two}`)).toEqual([one, two])
})
