/**
 * Approvals that have run their action in this process, whatever trail they went through: one request, one decision, one
 * execution. Other processes are not known here; there, a second use shows in the trail.
 */

/** Beyond it the oldest is forgotten: far more than people decide before an approval expires. */
const MAX_KNOWN = 100_000

const used = new Set<string>()

/** @returns false when it is used already. */
export function claimApproval(approvalId: string): boolean {
  if (used.has(approvalId)) return false
  used.add(approvalId)
  if (used.size > MAX_KNOWN) {
    const [oldest] = used
    if (oldest !== undefined) used.delete(oldest)
  }
  return true
}

/** The action was not run after all. */
export function releaseApproval(approvalId: string): void {
  used.delete(approvalId)
}
