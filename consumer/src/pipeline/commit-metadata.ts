/**
 * The metadata of a commit: the state of the lease, and with a signing key how far the partition is sealed.
 *
 *   clean
 *   busy 1785000000000
 *   busy 1785000000000 sealed 41 <SHA-256 of the seal's text, base64>
 *   busy 1785000000000 sealed 41 <…> to 99
 *   clean sealed -1 none
 */

/** `unknown`: without metadata, or with any other text. */
export type FenceState =
  | { readonly kind: 'clean' }
  | { readonly kind: 'busy'; readonly fencedAt: number }
  | { readonly kind: 'unknown' }

/** How far a partition is sealed. */
export interface SealProgress {
  /** Last offset of the newest seal; if there is none, the one below the first that is to be sealed. */
  readonly last: number
  /** SHA-256 of the text of the newest seal; undefined: none. */
  readonly hash: Buffer | undefined
  /** The seal of the offsets above `last` up to this one may be in the topic already; undefined: none may. */
  readonly to: number | undefined
}

export interface CommitMetadata {
  readonly state: FenceState
  readonly seals: SealProgress | undefined
}

export const CLEAN = 'clean'
const METADATA = /^(clean|busy (\d{1,15}))(?: sealed (-1|\d{1,15}) (none|[A-Za-z0-9+/]{43}=)(?: to (\d{1,15}))?)?$/

export function readMetadata(metadata: string | undefined): CommitMetadata {
  const [, state, fencedAt, last, hash, to] = METADATA.exec(metadata ?? '') ?? []
  const fence: FenceState =
    state === undefined
      ? { kind: 'unknown' }
      : fencedAt === undefined
        ? { kind: 'clean' }
        : { kind: 'busy', fencedAt: Number(fencedAt) }
  if (last === undefined || hash === undefined) return { state: fence, seals: undefined }
  const sealed = hash === 'none' ? undefined : Buffer.from(hash, 'base64')
  return { state: fence, seals: { last: Number(last), hash: sealed, to: to === undefined ? undefined : Number(to) } }
}

/** What follows the state of the lease. */
export function formatProgress({ last, hash, to }: SealProgress): string {
  return ` sealed ${last} ${hash?.toString('base64') ?? 'none'}${to === undefined ? '' : ` to ${to}`}`
}
