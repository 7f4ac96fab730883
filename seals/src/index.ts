export { type NoteSigner, generateKey, KeySigner, openKeyFile, signerFromPem } from './keys/key-file.ts'
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
export { EMPTY_ROOT, leafHash, nodeHash } from './tree/hashes.ts'
export { MerkleTree } from './tree/merkle-tree.ts'
export { type Consistency, type Inclusion, verifyConsistency, verifyInclusion } from './tree/verify-proof.ts'
