/** The parts of the judgement, in the order of the report. */
import { airlinePart } from './attacks/airline-part.ts'
import { attacksPart } from './attacks/attacks-part.ts'
import { catchbenchPart } from './catchbench/part.ts'
import { conductPart } from './conduct/part.ts'
import { fleetPart } from './fleet/fleet-part.ts'
import type { JudgePart } from './part.ts'
import { whoAndWhenPart } from './who-and-when/part.ts'

export const PARTS: readonly JudgePart[] = [
  attacksPart,
  airlinePart,
  conductPart,
  fleetPart,
  whoAndWhenPart,
  catchbenchPart,
]
