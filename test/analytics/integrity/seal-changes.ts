/** Changes of the seal log in the tables. */
import { signedBy } from '../../support/seal-log.ts'
import { type Change, drawRow, type Kind, nameOf, namesLeaf, rewritten, ROW_TABLES } from './change.ts'

const hex = (text: string): string => `unhex('${Buffer.from(text).toString('hex')}')`
const leafRewritten = (leaf: number, note: string): string[] =>
  rewritten('audit_seals', { replace: `if(leaf_index = ${leaf}, ${note}, note) AS note` })

function sealChange(leaf: number, kind: string, statements: readonly string[]): Change {
  const names = namesLeaf(leaf)
  return { kind, title: `leaf ${leaf}`, tables: ['audit_seals'], statements, expected: 'tampering', names }
}

export const changeSeal: Kind = ({ trail: { notes } }, draw) => {
  const leaf = draw(notes.length)
  const at = 1 + draw((notes[leaf] ?? '').length)
  const byte = `concat(substring(note, 1, ${at} - 1), char(bitXor(reinterpretAsUInt8(substring(note, ${at}, 1)), ${1 + draw(127)})), substring(note, ${at} + 1))`
  const cut = `substring(note, 1, ${at} - 1)`
  return sealChange(leaf, 'change a seal', leafRewritten(leaf, draw(4) === 0 ? cut : byte))
}

export const removeSeal: Kind = ({ trail: { notes } }, draw) => {
  const leaf = draw(notes.length)
  const from = draw(3) === 0
  const where = from ? `leaf_index < ${leaf}` : `leaf_index != ${leaf}`
  return sealChange(leaf, from ? 'cut the seal log' : 'remove a seal', rewritten('audit_seals', { where }))
}

export const swapSeals: Kind = (target, draw) => {
  const { length } = target.trail.notes
  const [one, other] = [draw(length), draw(length)].toSorted((a, b) => a - b) as [number, number]
  if (one === other) return swapSeals(target, draw)
  const index = `CAST(multiIf(leaf_index = ${one}, ${other}, leaf_index = ${other}, ${one}, leaf_index) AS UInt64) AS leaf_index`
  return sealChange(one, 'swap two seals', rewritten('audit_seals', { replace: index }))
}

export const signAgain: Kind = ({ trail: { notes }, stranger }, draw) => {
  const leaf = draw(notes.length)
  return sealChange(leaf, 'sign a seal again', leafRewritten(leaf, hex(signedBy(notes[leaf] ?? '', stranger))))
}

/** Rows are removed, and from their seals on the whole seal log and the checkpoints in the table. */
export const removeRowsAndSeals: Kind = (target, draw) => {
  const row = drawRow(target, draw, 'audit_events')
  const leaf = draw(target.trail.notes.length)
  return {
    kind: 'remove rows and seals',
    title: `${nameOf(row)} and what follows, leaves from ${leaf} on`,
    tables: ['audit_events', 'audit_skipped', 'audit_seals', 'audit_checkpoints'],
    statements: [
      ...ROW_TABLES.flatMap((table) =>
        rewritten(table, { where: `NOT (log_partition = ${row.partition} AND log_offset >= ${row.offset})` }),
      ),
      ...rewritten('audit_seals', { where: `leaf_index < ${leaf}` }),
      `TRUNCATE TABLE {db}.audit_checkpoints`,
    ],
    expected: 'tampering',
    names: namesLeaf(leaf),
  }
}

export const changeCheckpoint: Kind = ({ trail: { checkpoints } }, draw) => {
  const which = draw(checkpoints.length)
  // In its text: a line of a signature that names another key counts for nothing, and the notary has signed twice.
  const at = 1 + draw((checkpoints[which] ?? '').indexOf('\n\n'))
  const note = `concat(substring(note, 1, ${at} - 1), char(bitXor(reinterpretAsUInt8(substring(note, ${at}, 1)), 1)), substring(note, ${at} + 1))`
  const size = checkpoints[which]?.split('\n')[1]
  return {
    kind: 'change a checkpoint in the table',
    title: `of size ${size}, byte ${at}`,
    tables: ['audit_checkpoints'],
    statements: rewritten('audit_checkpoints', { replace: `if(size = ${size}, ${note}, note) AS note` }),
    expected: 'tampering',
    names: ({ code }) => code === 'checkpoint-invalid' || code === 'log-forked',
  }
}
