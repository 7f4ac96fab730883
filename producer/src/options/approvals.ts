/** The key that a trail signs decisions with, and the trust file that its guards verify them by. */
import { type KeySigner, openKeyFile, signerFromPem } from '@agent-audit/seals'
import { type Issue, TrailError } from '@agent-audit/schemas'
import { z } from 'zod'
import { ApprovalTrust } from '../context/approval-trust.ts'

/** A private key, as the file of `agent-audit keys generate` or its text. */
export type ApprovalSigningOption = { keyFile: string } | { key: string }

export interface ApprovalTrustOption {
  /** Path of the trust file. */
  file: string
  /** vkey of the root key that must have signed it. Unset: a file without a signature, or with any, is taken. */
  root?: string | undefined
}

export const approvalSigningSchema: z.ZodType<ApprovalSigningOption, ApprovalSigningOption> = z.union([
  z.strictObject({ keyFile: z.string().min(1) }),
  z.strictObject({ key: z.string().min(1) }),
])

export const approvalTrustSchema: z.ZodType<ApprovalTrustOption, ApprovalTrustOption> = z.strictObject({
  file: z.string().min(1),
  root: z.string().min(1).optional(),
})

export interface ApprovalOptionsGiven {
  readonly approvalSigning?: ApprovalSigningOption | undefined
  readonly approvalTrust?: ApprovalTrustOption | undefined
}

export interface SignedApprovals {
  /** Undefined: this trail signs no decision. */
  readonly signer: KeySigner | undefined
  /** Undefined: a guard takes decisions without a signature. */
  readonly trust: ApprovalTrust | undefined
}

/** @param environment - Names the files that the options do not. */
export function readSignedApprovals(
  options: ApprovalOptionsGiven,
  environment: NodeJS.ProcessEnv,
  issues: Issue[],
): SignedApprovals {
  const keyFile = environment['AUDIT_APPROVAL_KEY_FILE']
  const signing = options.approvalSigning ?? (keyFile ? { keyFile } : undefined)
  const file = environment['AUDIT_APPROVAL_TRUST_FILE']
  const root = environment['AUDIT_APPROVAL_TRUST_ROOT'] || undefined
  const named = file ? { file, root } : undefined
  if (root !== undefined && named === undefined && options.approvalTrust === undefined)
    issues.push({ path: 'AUDIT_APPROVAL_TRUST_ROOT', expected: 'expected AUDIT_APPROVAL_TRUST_FILE beside it' })
  const trusted = options.approvalTrust ?? named
  const attempt = <T>(path: string, open: () => T): T | undefined => {
    try {
      return open()
    } catch (error) {
      if (!(error instanceof TrailError)) throw error
      issues.push({ path, expected: error.message })
      return undefined
    }
  }
  const signer =
    signing &&
    attempt(options.approvalSigning === undefined ? 'AUDIT_APPROVAL_KEY_FILE' : 'approvalSigning', () =>
      'key' in signing ? signerFromPem(signing.key) : openKeyFile(signing.keyFile),
    )
  const trust =
    trusted &&
    attempt(options.approvalTrust === undefined ? 'AUDIT_APPROVAL_TRUST_FILE' : 'approvalTrust', () => {
      const opened = new ApprovalTrust(trusted.file, trusted.root)
      opened.read()
      return opened
    })
  return { signer, trust }
}
