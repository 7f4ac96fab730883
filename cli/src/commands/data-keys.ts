/** `agent-audit data-keys`: the store of data keys of a machine. */
import { writeFileSync } from 'node:fs'
import { type Command } from 'commander'
import { asJson, counted } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'

interface KekOptions {
  readonly kek: string
  readonly json?: boolean
}

const HELP = `
Encrypted fields are readable with both: the folder, which has a key for each subject, and the file, which unwraps them. Keep their
backups apart: who has an old copy of both can undo an erasure. docs/erasure.md`

export function addDataKeys(program: Command, terminal: Terminal): void {
  const group = program
    .command('data-keys')
    .description('make the store of the keys that fields are encrypted with; rotate the key that wraps them')
  group
    .command('init <dir>')
    .description('make the folder of the data keys, and the file of the key that wraps them; what exists is left alone')
    .requiredOption('--kek <file>', 'the file of the key-encryption key; made with mode 0600 if it is missing')
    .option('--json', 'one JSON object')
    .addHelpText('after', HELP)
    .action((directory: string, options: KekOptions) => init(directory, options, terminal))
  group
    .command('rotate <dir>')
    .description('wrap all data keys under a new key-encryption key, which takes the place of the old one in its file')
    .requiredOption('--kek <file>', 'the file of the key-encryption key')
    .option('--json', 'one JSON object')
    .action((directory: string, options: KekOptions) => rotate(directory, options, terminal))
}

async function rotate(directory: string, { kek, json }: KekOptions, terminal: Terminal): Promise<void> {
  const { rotateKek } = await import('@agent-audit/erasure')
  const { kekId, keys } = rotateKek({ directory, kekFile: kek })
  if (json === true) return terminal.out(`${asJson({ directory, kek_file: kek, kek_id: kekId, keys })}\n`)
  terminal.out(`${directory}: ${counted(keys, 'data key')} under the new key-encryption key ${kekId} in ${kek}\n`)
}

async function init(directory: string, { kek, json }: KekOptions, terminal: Terminal): Promise<void> {
  const { createFileKeyStore, newKekLine, openFileKeyStore, readKeks } = await import('@agent-audit/erasure')
  const kekMade = writeNew(kek, `${newKekLine()}\n`)
  const store = { directory, kekFile: kek }
  const made = createFileKeyStore(store)
  openFileKeyStore(store)
  const [{ id }] = readKeks(kek)
  if (json === true)
    return terminal.out(`${asJson({ directory, made, kek_file: kek, kek_id: id, kek_made: kekMade })}\n`)
  terminal.out(`${directory}: ${made ? 'made' : 'is there already'}; key-encryption key ${id} in ${kek}\n`)
}

/** @returns false: there is such a file */
function writeNew(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
