/** What a notary is made of. */
import type { Analytics } from '@agent-audit/analytics'
import type { Source } from '@agent-audit/kafka'
import type { TrailError } from '@agent-audit/schemas'
import type { CheckpointSigner, MerkleTree, VerifierKey } from '@agent-audit/seals'
import type { NewLeaf, SealTables, SignedCheckpoint } from './seal-tables.ts'
import type { CheckpointSink, DeliveryObserver } from './sinks/sink.ts'

export interface NotaryObserver extends DeliveryObserver {
  /** The tree is computed from the tables, and agrees with the sinks. */
  began(log: { readonly origin: string; readonly size: number }): void
  stored(leaves: readonly NewLeaf[]): void
  signed(checkpoint: SignedCheckpoint): void
  /** A message of the topic that cannot be a leaf: empty, or above 65,535 bytes. */
  notALeaf(offset: number): void
  /** It goes on after a pause. */
  problem(error: TrailError): void
}

export interface NotaryOptions {
  /** Reads the topic of seals, in a group of its own. */
  readonly source: Source
  /** The group, for messages. */
  readonly groupId: string
  /** As a user of the role notary. */
  readonly analytics: Analytics
  readonly signer: CheckpointSigner & { readonly key: VerifierKey }
  /** Other notaries of this log, whose checkpoints the sinks may have. */
  readonly otherKeys?: readonly VerifierKey[] | undefined
  /** @defaultValue `agent-audit/<id of the seal log>` */
  readonly origin?: string | undefined
  /** Called once the log is open. */
  readonly createSinks: (log: OpenLog) => readonly CheckpointSink[]
  readonly observer: NotaryObserver
  /** How long another member may have the partition before this notary gives up, milliseconds. @defaultValue 20000 */
  readonly standbyMs?: number | undefined
}

/** What sinks need of the log. */
export interface OpenLog {
  readonly tables: SealTables
  readonly tree: () => MerkleTree
}
