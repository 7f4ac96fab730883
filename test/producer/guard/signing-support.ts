/** Shared by the tests of signed approvals: keys, the trust file that names them, and the trails of the agent and of the desk. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditTrailOptions, ApprovalDecision } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import {
  EMPTY_TRUST,
  formatTrust,
  generateKey,
  keyNameOf,
  type KeySigner,
  readApproval,
  formatApproval,
  signerFromPem,
  type SignedApproval,
  type Trust,
  type TrustedKey,
} from '@agent-audit/seals'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const START = Date.UTC(2020, 0)

export interface Key {
  readonly pem: string
  readonly signer: KeySigner
}

export function makeKey(name: string): Key {
  const pem = generateKey(keyNameOf(name))
  return { pem, signer: signerFromPem(pem) }
}

export function trusted({ signer }: Key, change: Partial<TrustedKey> = {}): TrustedKey {
  return { key: signer.key, role: 'approver', notBefore: START, notAfter: undefined, revoked: undefined, ...change }
}

/** The desk is a service that knows its approvers; kim and lee have keys of their own. */
export const keys = {
  desk: makeKey('approval desk'),
  kim: makeKey('kim'),
  lee: makeKey('lee'),
  producer: makeKey('agent-1'),
  stranger: makeKey('approval desk'),
} as const

export const TRUST: Trust = {
  ...EMPTY_TRUST,
  keys: [trusted(keys.desk), trusted(keys.kim), trusted(keys.lee), trusted(keys.producer, { role: 'producer' })],
  services: ['approval desk'],
}

export interface TrustFile {
  readonly path: string
  write(trust: Trust): void
}

export function makeTrustFile(trust: Trust = TRUST): TrustFile {
  const path = join(makeTempDirectory(), 'trust.txt')
  const write = (changed: Trust): void => writeFileSync(path, formatTrust(changed))
  write(trust)
  return { path, write }
}

type Options = Partial<AuditTrailOptions> & { now?: () => Date }

/** @returns The trail of the agent, which verifies, and that of the process that decides, which signs with the key. */
export function openDesk({
  key = keys.desk,
  trust = makeTrustFile(),
  ...options
}: Options & { key?: Key; trust?: TrustFile } = {}) {
  const agent = createTestTrail({ approvalTrust: { file: trust.path }, ...options })
  const { now } = options
  const desk = createTestTrail({ approvalSigning: { key: key.pem }, ...(now === undefined ? {} : { now }) })
  return { agent, desk, trust }
}

/** The decision with a note that says something else, signed by the key. */
export function resigned(decision: ApprovalDecision, key: Key, change: Partial<SignedApproval> = {}): ApprovalDecision {
  const { approval } = readApproval(decision.approval.signature ?? '')
  return withSignature(decision, key.signer.sign(formatApproval({ ...approval, ...change })))
}

export function withSignature(decision: ApprovalDecision, signature: string | undefined): ApprovalDecision {
  const { signature: _, ...approval } = decision.approval
  return { ...decision, approval: signature === undefined ? approval : { ...approval, signature } }
}
