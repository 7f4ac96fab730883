/** A promise that holds for every input: fast-check makes inputs until the time is over. */
import type { IRawProperty } from 'fast-check'

export interface FuzzTarget {
  readonly name: string
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly property: IRawProperty<any>
}
