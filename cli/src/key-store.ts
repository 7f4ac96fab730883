/** The options that name a store of data keys. */
import type { FileKeyStore } from '@agent-audit/erasure'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'
import type { Terminal } from './terminal.ts'

export interface KeyOptions {
  readonly keys?: string | undefined
  readonly kek?: string | undefined
}

/** Adds the options. */
export function withKeys(command: Command): Command {
  return command
    .option('--keys <dir>', 'data keys of encrypted fields (default: AUDIT_DATA_KEYS)')
    .option('--kek <file>', 'with --keys: the file of the key-encryption key (default: AUDIT_KEK_FILE)')
}

/** @returns undefined: no store is named. @throws InvalidInputError `KEY_INVALID`, `OPTIONS_INVALID` */
export async function openKeys(options: KeyOptions, env: Terminal['env']): Promise<FileKeyStore | undefined> {
  const directory = options.keys ?? (env['AUDIT_DATA_KEYS'] || undefined)
  if (directory === undefined) return undefined
  const kekFile = options.kek ?? (env['AUDIT_KEK_FILE'] || undefined)
  if (kekFile === undefined) {
    throw new InvalidInputError('OPTIONS_INVALID', '--keys needs the key-encryption key: give --kek or AUDIT_KEK_FILE')
  }
  // Loaded only here: most commands read no encrypted field.
  const { openFileKeyStore } = await import('@agent-audit/erasure')
  return openFileKeyStore({ directory, kekFile })
}
