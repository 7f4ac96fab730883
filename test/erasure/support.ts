/** Key stores of tests, each in a directory of its own. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  createFileKeyStore,
  type FileKeyStore,
  type FileKeyStoreOptions,
  newKekLine,
  openFileKeyStore,
  type Subject,
} from '@agent-audit/erasure'
import { JSON_FIELDS } from '@agent-audit/schemas'
import type { SeedRow } from '../analytics/seed.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

export const ANNA: Subject = { kind: 'user', id: 'anna@example.com' }

export interface TestStore {
  readonly options: FileKeyStoreOptions
  readonly store: FileKeyStore
}

/** A new store. Another process opens it with the same options. */
export function newStore(): TestStore {
  const home = makeTempDirectory()
  const options = { directory: join(home, 'keys'), kekFile: join(home, 'kek') }
  writeFileSync(options.kekFile, `${newKekLine()}\n`, { mode: 0o600 })
  createFileKeyStore(options)
  return { options, store: openFileKeyStore(options) }
}

/** An encrypted JSON field is a JSON string in the store; the test trail has parsed it. */
export function asStored(rows: SeedRow[]): SeedRow[] {
  return rows.map((row) => {
    const texts = JSON_FIELDS.flatMap((name) =>
      typeof row[name] === 'string' ? [[name, JSON.stringify(row[name])]] : [],
    )
    return { ...row, ...(Object.fromEntries(texts) as object) }
  })
}
