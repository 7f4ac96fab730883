/**
 * One word of a person, one execution: which approvals and overrides have run their action. In this process, whatever
 * trail they go through; among processes that share a spool directory, by a file there that only one of them can make;
 * beyond that, only where the operator's `claimApproval` knows.
 */
import { closeSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { ResolvedOptions } from '../options/options.ts'

/** Beyond it the oldest is forgotten: far more than people decide before an approval expires. */
const MAX_KNOWN = 100_000

const used = new Set<string>()

export interface ApprovalClaims {
  /** @returns false when it is used already. Throws or rejects when that cannot be told. */
  claim(id: string): boolean | Promise<boolean>
  /** The action was not run after all. What claimApproval was told stays told. */
  release(id: string): void
}

/** Of one process only. */
export const processClaims: ApprovalClaims = {
  claim(id) {
    if (used.has(id)) return false
    used.add(id)
    if (used.size > MAX_KNOWN) {
      const [oldest] = used
      if (oldest !== undefined) used.delete(oldest)
    }
    return true
  },
  release: (id) => void used.delete(id),
}

/** As far as these options reach. */
export function createClaims({ claimApproval, durability, spoolDir }: ResolvedOptions): ApprovalClaims {
  if (claimApproval !== undefined) return within(claimApproval, () => {})
  if (durability !== 'disk') return processClaims
  const fileOf = (id: string): string => join(spoolDir, `approval-${id}.used`)
  return within(
    (id) => makeFile(fileOf(id)),
    (id) => rmSync(fileOf(id), { force: true }),
  )
}

/** Claims in this process first: that waits for nothing, so of two calls side by side one is refused at once. */
function within(claim: ApprovalClaims['claim'], release: ApprovalClaims['release']): ApprovalClaims {
  return {
    claim(id) {
      if (processClaims.claim(id) === false) return false
      const forget = (error: unknown): never => {
        processClaims.release(id)
        throw error
      }
      try {
        const answer = claim(id)
        return answer instanceof Promise ? answer.catch(forget) : answer
      } catch (error) {
        return forget(error)
      }
    },
    release(id) {
      release(id)
      processClaims.release(id)
    },
  }
}

function makeFile(file: string): boolean {
  try {
    closeSync(openSync(file, 'wx', 0o600))
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}
