/**
 * One approval or override, one execution: which of them are used up. Within this process across all trails; among processes
 * that share a spool directory by a file there, which only one process can create; beyond that only by the caller's
 * `claimApproval`.
 */
import type { ResolvedOptions } from '../options/options.ts'
import { ApprovalFiles } from './approval-files.ts'

/** Most ids kept; above it the oldest is forgotten. Far more than approvers decide before an approval expires. */
const MAX_KNOWN = 100_000

const used = new Set<string>()

export interface ApprovalClaims {
  /**
   * @param expiresAt - Until when the approval may be used: ISO 8601, UTC.
   * @returns false when it is used up already. Throws or rejects when that cannot be determined.
   */
  claim(id: string, expiresAt: string): boolean | Promise<boolean>
  /** To be called when the action was not run after all. A claim that `claimApproval` made stays made. */
  release(id: string): void
}

/** Claims within one process only. */
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

/** The claims that these options ask for. Starts to remove the files of expired approvals, if the claims are files. */
export function createClaims({ claimApproval, durability, spoolDir }: ResolvedOptions): ApprovalClaims {
  if (claimApproval !== undefined)
    return within(
      (id) => claimApproval(id),
      () => {},
    )
  if (durability !== 'disk') return processClaims
  const files = new ApprovalFiles(spoolDir)
  files.removeExpired()
  return within(
    (id, expiresAt) => {
      files.removeExpired()
      return files.create(id, expiresAt)
    },
    (id) => files.remove(id),
  )
}

/** Claims in this process first, without a wait: of two calls made side by side, one is refused at once. */
function within(claim: ApprovalClaims['claim'], release: ApprovalClaims['release']): ApprovalClaims {
  return {
    claim(id, expiresAt) {
      if (processClaims.claim(id, expiresAt) === false) return false
      const forget = (error: unknown): never => {
        processClaims.release(id)
        throw error
      }
      try {
        const answer = claim(id, expiresAt)
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
