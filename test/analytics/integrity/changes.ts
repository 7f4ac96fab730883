/** Random changes of a sealed trail, one at a time. */
import type { Change, Kind, Target } from './change.ts'
import {
  changeColumn,
  insertAtFree,
  insertAtUsed,
  moveToPartition,
  moveToSkipped,
  quarantine,
  removeRange,
  removeRow,
  replay,
  swap,
} from './row-changes.ts'
import { changeCheckpoint, changeSeal, removeRowsAndSeals, removeSeal, signAgain, swapSeals } from './seal-changes.ts'
import type { Draw } from './values.ts'

const KINDS: readonly Kind[] = [
  removeRow,
  removeRange,
  insertAtUsed,
  insertAtFree,
  replay,
  swap,
  moveToSkipped,
  moveToPartition,
  quarantine,
  changeSeal,
  removeSeal,
  swapSeals,
  signAgain,
  removeRowsAndSeals,
  changeCheckpoint,
]

/** Draws a change: most are of one column of one row. */
export function drawChange(target: Target, random: () => number): Change {
  const draw: Draw = (count) => Math.floor(random() * count)
  const kind = random() < 0.5 ? changeColumn : (KINDS[draw(KINDS.length)] ?? changeColumn)
  return kind(target, draw)
}
