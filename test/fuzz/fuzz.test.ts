/** Each target with a few inputs. More, and others: `npm run test:fuzz`. */
import { describe, expect, it } from 'vitest'
import { takeSeed } from '../support/seed.ts'
import { findTargets, runTarget } from './run-target.ts'

const CASES = 100
const seed = takeSeed('fuzz')
const targets = await findTargets()

describe('whatever a caller, a tool or a user gives', () => {
  it.each(targets)(`$name keeps its promise for ${CASES} random inputs`, async (target) => {
    const { failure } = await runTarget(target, seed, { cases: CASES })
    expect(failure).toBeUndefined()
  })
})
