export {
  differencesOf,
  formatApproval,
  parseApproval,
  type SaidApproval,
  type SignedApproval,
} from './approvals/signed-approval.ts'
export {
  readApproval,
  type UnverifiedApproval,
  type VerifiedApproval,
  verifyApproval,
} from './approvals/verify-approval.ts'
export {
  ERASURE_EVENTS,
  type ErasureEvent,
  erasureFault,
  formatErasure,
  parseErasure,
  reasonDigest,
  type SignedErasure,
  type VerifiedErasure,
  verifyErasure,
} from './erasures/signed-erasure.ts'
export {
  type NoteSigner,
  generateKey,
  keyFromEnvironment,
  KeySigner,
  openKeyFile,
  readKeyFile,
  signerFromPem,
} from './keys/key-file.ts'
export { applyRotation, formatRotation, parseRotation, type Rotation, signRotation } from './keys/rotation.ts'
export {
  EMPTY_TRUST,
  formatTrust,
  formatTrustedKey,
  KEY_ROLES,
  keyFaultAt,
  type KeyFault,
  type KeyRole,
  keysOfRole,
  type OpenedTrust,
  openTrust,
  parseTrust,
  type Trust,
  type TrustedKey,
} from './keys/trust.ts'
export {
  formatNote,
  MAX_NOTE_BYTES,
  type Note,
  noteHash,
  type NoteSignature,
  parseNote,
  readNote,
  type VerifiedNote,
  verifyNote,
} from './notes/note.ts'
export {
  COSIGNATURE,
  ED25519,
  idOfKeyName,
  keyNameOf,
  type SignatureType,
  type Verified,
  VerifierKey,
} from './notes/verifier-key.ts'
export { type ConsumerSeal, formatConsumerSeal, parseConsumerSeal, type SealedRows } from './seals/consumer-seal.ts'
export { LEAF_BYTES, LeafList } from './seals/leaf-list.ts'
export {
  formatProducerSeal,
  MAX_SEAL_RANGES,
  parseProducerSeal,
  type ProducerSeal,
  type Range,
  type SealState,
} from './seals/producer-seal.ts'
export {
  connectSigner,
  type RemoteSigner,
  type SignerClientOptions,
  SignerRefusedError,
} from './signer/signer-client.ts'
export { SocketSigner, type SocketSignerOptions } from './signer/socket-signer.ts'
export {
  consistencyProofOf,
  EMPTY_ROOT,
  inclusionProofOf,
  leafHash,
  nodeHash,
  rootOf,
  type SubtreeHashes,
} from './tree/hashes.ts'
export {
  type Checkpoint,
  type CheckpointSigner,
  formatCheckpoint,
  type LogKeys,
  parseCheckpoint,
  signCheckpoint,
  type VerifiedCheckpoint,
  verifyCheckpoint,
} from './tree/checkpoint.ts'
export { checkpointLine, readCheckpointLine } from './tree/checkpoint-line.ts'
export { CompactRange } from './tree/compact-range.ts'
export { MerkleTree } from './tree/merkle-tree.ts'
export { type Consistency, type Inclusion, verifyConsistency, verifyInclusion } from './tree/verify-proof.ts'
export {
  bundlesBetween,
  formatEntries,
  formatTile,
  hashesOfTiles,
  parseEntries,
  parseTilePath,
  type Tile,
  tilePath,
  tilesBetween,
  tilesRead,
} from './tree/tiles.ts'
export { formatTlogProof, parseTlogProof, type TlogProof, verifyTlogProof } from './tree/tlog-proof.ts'
