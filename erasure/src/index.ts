export { DATA_KEY_BYTES, type DataKey, type DataKeyStore, type Subject } from './data-keys.ts'
export { encryptedBytes, FieldCipher, type FieldPlace, keyIdOf } from './field-cipher.ts'
export {
  DAMAGED,
  ENCRYPTED,
  ENCRYPTED_MEMBER,
  type EncryptedRow,
  ERASED,
  FieldReader,
  KEY_UNKNOWN,
  PSEUDONYM_PREFIX,
} from './field-reader.ts'
export {
  createFileKeyStore,
  type Erasure,
  FileKeyStore,
  type FileKeyStoreOptions,
  openFileKeyStore,
  rotateKek,
  type Rotation,
} from './file-key-store.ts'
export { type Kek, newKekLine, readKeks } from './kek-file.ts'
