/** The seals of a run in its spool: what a sealer stores there, and what the next owner finds. The notes are opaque here. */

/** The leaves of one chunk: the records of a run, from a run_seq on, without a gap. */
export interface ChunkLeaves {
  readonly firstSeq: number
  readonly records: number
  /** Fingerprint of the schema that all of them have, 16 hex digits. */
  readonly schema: string
  /** 32 bytes a record, in order. */
  readonly leaves: Uint8Array
}

/** Records that never reach the topic, by run_seq, both inclusive. */
export interface UndeliveredRange {
  readonly first: number
  readonly last: number
  /** The error code that says why. */
  readonly code: string
}

/** Where the chain of a run's seals stands. */
export interface SealChain {
  /** Of the next seal. */
  readonly number: number
  /** The first run_seq that no seal covers. */
  readonly nextSeq: number
  /** SHA-256 of the newest seal's note; undefined before the first. */
  readonly prev: Uint8Array | undefined
  /** Ranges that a later seal is to name. */
  readonly undelivered: readonly UndeliveredRange[]
  /** Whether the newest seal is the last one of the run. */
  readonly ended: boolean
}

export interface StoredSeal {
  readonly number: number
  /** The signed note. */
  readonly note: string
}

/** What waits in the file of a run that is sealed. Times are milliseconds since 1970; null when nothing waits. */
export interface SealStatus {
  /** Seals that are not acknowledged. */
  readonly unsent: number
  /** When the oldest of them was stored. */
  readonly oldestUnsentMs: number | null
  /** Records that no seal covers; they may have been sent. */
  readonly unsealed: number
  /** When the oldest of them was stored. */
  readonly oldestUnsealedMs: number | null
}

/** What a file of a run begins with. */
export interface RunSeals {
  /** The producer of the run. */
  readonly producerId: string
  readonly chain: SealChain
  readonly leaves: readonly ChunkLeaves[]
}

/** The chain of a run that has no seal yet. */
export const NEW_CHAIN: SealChain = { number: 0, nextSeq: 0, prev: undefined, undelivered: [], ended: false }

/**
 * Methods throw AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses, and IntegrityError `SPOOL_CORRUPT` when what was
 * stored is damaged.
 */
export interface SpoolSeals {
  readonly producerId: string
  readonly chain: SealChain
  /** Of leaves and seals. */
  readonly bytes: number
  /** Whether every seal that was stored is acknowledged. */
  readonly allSent: boolean
  /** Whether nothing is left: the chain has ended, or never began, and all of it is acknowledged. */
  readonly finished: boolean
  /** The leaves that no seal covers, in order. */
  leaves(): ChunkLeaves[]
  /** Stores the next seal and moves the chain on, which covers leaves: one commit. */
  seal(note: string, chain: SealChain): void
  /** Replaces the state of the chain. */
  keep(chain: SealChain): void
  /** The oldest seals that are not acknowledged, in order, some of them at a time. */
  unsent(): StoredSeal[]
  /** The broker has acknowledged the seals up to this number. They count as sent even when the disk refuses to delete them. */
  sent(upToNumber: number): void
  /** Another file of the run has chain and leaves now; this one keeps the seals that are not sent. */
  handedOver(): void
}
