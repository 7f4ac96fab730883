/**
 * One approval or override, one execution: which of them are used up. Within this process across all trails; among processes
 * that share a spool directory by a file there, which only one process can create; beyond that only by the caller's
 * `claimApproval`.
 */
import { dirname } from 'node:path'
import { InvalidInputError } from '@agent-audit/schemas'
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

type ClaimOptions = Pick<ResolvedOptions, 'claimApproval' | 'durability' | 'spoolDir'>

/** The claims that these options ask for. Starts to remove the files of expired approvals, if the claims are files. */
export function createClaims({ claimApproval, durability, spoolDir }: ClaimOptions): ApprovalClaims {
  if (claimApproval !== undefined)
    return within(
      (id) => answerOf(claimApproval(id)),
      () => {},
    )
  if (durability !== 'disk') return processClaims
  // Not the topic's directory: an approval names no topic, and is used once whatever the topic of the call that it is used for.
  const files = new ApprovalFiles(dirname(spoolDir))
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

/** The answer of the caller's `claimApproval`: a boolean, or a promise of one, of this realm or of another. */
function answerOf(answer: unknown): boolean | Promise<boolean> {
  if (typeof answer === 'boolean') return answer
  const then = (answer as { then?: unknown } | null | undefined)?.then
  if (typeof then === 'function') return Promise.resolve(answer).then(checkAnswer)
  return checkAnswer(answer)
}

/** A claim that has no clear answer must not read as one that was made before. */
function checkAnswer(answer: unknown): boolean {
  if (typeof answer === 'boolean') return answer
  const kind = answer === null ? 'null' : typeof answer
  throw new InvalidInputError('OPTIONS_INVALID', `claimApproval: expected true or false as its answer, not ${kind}`)
}
