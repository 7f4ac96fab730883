/** The option `encryption`: its check, and the store of data keys that it names. */
import { type DataKeyStore, openFileKeyStore } from '@agent-audit/erasure'
import { InvalidInputError, type Issue } from '@agent-audit/schemas'
import { z } from 'zod'
import type { EncryptedField, EncryptionOptions } from '../api/encryption.ts'

/** All that can be encrypted. */
const FIELDS = [
  'reason',
  'reasoning',
  'output_text',
  'input_messages',
  'tool_calls_requested',
  'tool_input',
  'tool_output',
  'error',
  'content',
  'user_id',
] as const satisfies readonly EncryptedField[]
/** Of them those that hold what was said and done. */
const DEFAULT_FIELDS: readonly EncryptedField[] = FIELDS.filter((field) => field !== 'reason' && field !== 'user_id')

/** With everything filled in. */
export interface Encryption {
  readonly keys: DataKeyStore
  readonly fields: readonly EncryptedField[]
  readonly subject: EncryptionOptions['subject']
}

const METHODS = ['keyFor', 'find', 'isErased'] as const

function isStore(value: unknown): value is DataKeyStore {
  if (typeof value !== 'object' || value === null) return false
  return METHODS.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
}

export const encryptionSchema: z.ZodType<EncryptionOptions, EncryptionOptions> = z.strictObject({
  keys: z.union([
    z.custom<DataKeyStore>(isStore, `expected ${METHODS.join(', ')}, or directory and kekFile`),
    z.strictObject({ directory: z.string().min(1), kekFile: z.string().min(1) }),
  ]),
  fields: z.array(z.enum(FIELDS)).optional(),
  subject: z
    .custom<NonNullable<EncryptionOptions['subject']>>((value) => typeof value === 'function', 'expected a function')
    .optional(),
})

/** @returns undefined: no option, or one that `issues` names */
export function readEncryption(option: EncryptionOptions | undefined, issues: Issue[]): Encryption | undefined {
  if (option === undefined) return undefined
  const { keys, fields = DEFAULT_FIELDS, subject } = option
  try {
    return { keys: isStore(keys) ? keys : openFileKeyStore(keys), fields: [...new Set(fields)], subject }
  } catch (error) {
    const expected = error instanceof Error ? error.message : String(error)
    if (!(error instanceof InvalidInputError) && (error as NodeJS.ErrnoException).code === undefined) throw error
    issues.push({ path: 'encryption.keys', expected })
    return undefined
  }
}
