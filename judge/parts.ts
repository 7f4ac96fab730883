/** The parts of the judgement, in the order of the report. */
import type { JudgePart } from './part.ts'

export const PARTS: readonly JudgePart[] = []
