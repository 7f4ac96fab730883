/** `agent-audit keys`: signing keys, and the trust file that says which of them count. */
import { readFileSync, writeFileSync } from 'node:fs'
import { writeWhole } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { KeyRole, KeySigner, OpenedTrust, Trust, TrustedKey, VerifierKey } from '@agent-audit/seals'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { collect, parseTime } from '../arguments.ts'
import { asJson } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'

const ROLES = ['producer', 'consumer', 'notary', 'approver', 'eraser'] as const satisfies readonly KeyRole[]
const DAY_MS = 86_400_000

interface KeyOptions {
  readonly role: KeyRole
  readonly out: string
  readonly json?: boolean
}

interface TrustOptions {
  readonly add?: string[]
  readonly role: KeyRole
  readonly from?: Date
  readonly until?: Date
  readonly rotate?: string
  readonly overlap: number
  readonly revoke?: string
  readonly at?: Date
  readonly producer?: string[]
  readonly service?: string[]
  readonly origin?: string
  readonly witness?: string[]
  readonly root?: string
  readonly rootKey?: string
  readonly json?: boolean
}

function roleOption(): Option {
  return new Option('--role <role>', 'what the key signs').choices(ROLES).default('producer')
}

export function addKeys(program: Command, terminal: Terminal): void {
  const keys = program.command('keys').description('make, show and rotate signing keys; keep the file of trusted keys')
  keys
    .command('generate <id>')
    .description('make a key for a producer_id, or the name of a consumer, notary, approver or eraser')
    .requiredOption('-o, --out <file>', 'the new file, mode 0600; one that exists is left alone')
    .addOption(roleOption())
    .option('--json', 'one JSON object')
    .action((id: string, options: KeyOptions) => generate(id, options, terminal))
  keys
    .command('show <file>')
    .description("show a key's name and public key, never the private one")
    .addOption(roleOption())
    .option('--json', 'one JSON object')
    .action((file: string, options: KeyOptions) => show(file, options, terminal))
  keys
    .command('rotate <file>')
    .description('make a successor of a key; the old key signs the note that is printed, for `keys trust --rotate`')
    .requiredOption('-o, --out <file>', 'the new key file, mode 0600; one that exists is left alone')
    .addOption(roleOption())
    .option('--json', 'one JSON object: the note, and the line of the trust file')
    .action((file: string, options: KeyOptions) => rotate(file, options, terminal))
  addTrust(keys, terminal)
}

function addTrust(keys: Command, terminal: Terminal): void {
  keys
    .command('trust <file>')
    .description('check and show a trust file, or change it; a change of a file that is missing makes it')
    .option('--add <vkey>', 'add a key (repeatable), with --role, --from and --until', collect)
    .addOption(roleOption())
    .option('--from <time>', 'the added keys count from then on (default: now)', parseTime)
    .option('--until <time>', 'the added keys count until then (default: without an end)', parseTime)
    .option('--rotate <note>', 'the file of a rotation: its new key takes the place of the old one')
    .option('--overlap <days>', 'the old key counts for so long after a rotation', parseDays, 7)
    .option('--revoke <vkey>', 'from --at on the key counts no more')
    .option('--at <time>', 'the time of --revoke (default: now)', parseTime)
    .option('--producer <id>', 'expect this producer to seal (repeatable)', collect)
    .option('--service <name>', 'approver keys of this name sign for any approver (repeatable)', collect)
    .option('--origin <origin>', "the origin of the seal log's checkpoints")
    .option('--witness <vkey>', 'trust the cosignatures of a witness (repeatable)', collect)
    .option('--root <vkey>', 'the root key that must have signed the file')
    .option('--root-key <file>', 'the private root key: it signs the changed file')
    .option('--json', 'one JSON object')
    .action((file: string, options: TrustOptions) => keepTrust(file, options, terminal))
}

async function generate(id: string, { role, out, json }: KeyOptions, terminal: Terminal): Promise<void> {
  const { generateKey, keyNameOf } = await import('@agent-audit/seals')
  const signer = await writeKey(out, generateKey(keyNameOf(id)))
  await print(signer, role, json, terminal)
}

async function show(file: string, { role, json }: KeyOptions, terminal: Terminal): Promise<void> {
  const { openKeyFile } = await import('@agent-audit/seals')
  await print(openKeyFile(file), role, json, terminal)
}

async function rotate(file: string, { role, out, json }: KeyOptions, terminal: Terminal): Promise<void> {
  const { formatTrustedKey, generateKey, openKeyFile, signRotation } = await import('@agent-audit/seals')
  const old = openKeyFile(file)
  const next = await writeKey(out, generateKey(old.keyName))
  const time = Date.now()
  const note = await signRotation(old, next.key, time)
  const line = formatTrustedKey(newKey(next, role, time))
  if (json === true) terminal.out(`${asJson({ note, trust_line: line })}\n`)
  else {
    terminal.out(note)
    terminal.err(`agent-audit: the line of the trust file: ${line}\n`)
  }
}

/** An existing file stays as it is. */
async function writeKey(file: string, text: string): Promise<KeySigner> {
  const { openKeyFile } = await import('@agent-audit/seals')
  try {
    writeFileSync(file, text, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new InvalidInputError('KEY_INVALID', `${file}: expected a new file, and it exists`, { cause: error })
  }
  return openKeyFile(file)
}

async function print(signer: KeySigner, role: KeyRole, json: boolean | undefined, terminal: Terminal): Promise<void> {
  const { formatTrustedKey } = await import('@agent-audit/seals')
  const line = formatTrustedKey(newKey(signer, role, Date.now()))
  const { keyName, vkey, key } = signer
  const shown = { name: keyName, vkey, cosigner_vkey: key.cosigner.vkey, trust_line: line }
  if (json === true) terminal.out(`${asJson(shown)}\n`)
  else terminal.out(`${vkey}\n${line}\n`)
}

function newKey({ key }: Pick<KeySigner, 'key'>, role: KeyRole, notBefore: number): TrustedKey {
  return { key, role, notBefore, notAfter: undefined, revoked: undefined }
}

async function keepTrust(file: string, options: TrustOptions, terminal: Terminal): Promise<void> {
  const { formatTrust, openKeyFile, VerifierKey: Key } = await import('@agent-audit/seals')
  const rootKey = options.rootKey === undefined ? undefined : openKeyFile(options.rootKey)
  const root = options.root === undefined ? rootKey?.key : Key.parse(options.root)
  const found = await read(file, root)
  const changed = await change(found, options)
  if (changed === found) {
    if (found.signature === 'missing') throw new InvalidInputError('INPUT_UNREADABLE', `${file}: there is no such file`)
    return showTrust(found, options.json, terminal)
  }
  if (found.signature === 'checked' || found.signature === 'unchecked') {
    if (rootKey === undefined)
      throw new InvalidInputError('OPTIONS_INVALID', `${file} is signed: a change needs --root-key`)
  }
  const text = formatTrust(changed)
  const signed = rootKey?.sign(text) ?? text
  if (file === undefined) terminal.out(signed)
  else await writeWhole(file, { content: [Buffer.from(signed)] })
  return showTrust({ ...changed, signature: rootKey === undefined ? 'none' : 'checked' }, options.json, terminal)
}

type FoundTrust = Omit<OpenedTrust, 'signature'> & { readonly signature: OpenedTrust['signature'] | 'missing' }

async function read(file: string, root: VerifierKey | undefined): Promise<FoundTrust> {
  const { EMPTY_TRUST, openTrust } = await import('@agent-audit/seals')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return { ...EMPTY_TRUST, signature: 'missing' }
  }
  return openTrust(text, root)
}

/** @returns the same object, if no option changes it */
async function change(found: FoundTrust, options: TrustOptions): Promise<FoundTrust> {
  const { applyRotation, VerifierKey: Key } = await import('@agent-audit/seals')
  let changed: Trust = found
  for (const vkey of options.add ?? []) {
    const added = {
      ...newKey({ key: Key.parse(vkey) }, options.role, options.from?.getTime() ?? Date.now()),
      notAfter: options.until?.getTime(),
    }
    changed = { ...changed, keys: [...changed.keys, added] }
  }
  if (options.rotate !== undefined) {
    changed = applyRotation(changed, readFileSync(options.rotate, 'utf8'), options.overlap * DAY_MS)
  }
  if (options.revoke !== undefined) changed = revoked(changed, options.revoke, options.at?.getTime() ?? Date.now())
  if (options.producer !== undefined) changed = { ...changed, producers: [...changed.producers, ...options.producer] }
  if (options.service !== undefined) changed = { ...changed, services: [...changed.services, ...options.service] }
  if (options.origin !== undefined) changed = { ...changed, origin: options.origin }
  if (options.witness !== undefined) {
    changed = {
      ...changed,
      witnesses: [...changed.witnesses, ...options.witness.map((vkey) => Key.parse(vkey))],
    }
  }
  return changed === found ? found : { ...changed, signature: found.signature }
}

/** An earlier revocation stays: a later one would take signatures back into trust. */
function revoked(trust: Trust, vkey: string, time: number): Trust {
  if (!trust.keys.some(({ key }) => key.vkey === vkey)) {
    throw new InvalidInputError('OPTIONS_INVALID', `--revoke: the trust file has no key ${vkey}`)
  }
  const keys = trust.keys.map((each) =>
    each.key.vkey === vkey ? { ...each, revoked: Math.min(time, each.revoked ?? Number.POSITIVE_INFINITY) } : each,
  )
  return { ...trust, keys }
}

async function showTrust(trust: FoundTrust, json: boolean | undefined, terminal: Terminal): Promise<void> {
  const { formatTrust } = await import('@agent-audit/seals')
  if (json === true) {
    const keys = trust.keys.map(({ key, role, notBefore, notAfter, revoked: at }) => ({
      vkey: key.vkey,
      role,
      not_before: new Date(notBefore),
      not_after: notAfter === undefined ? null : new Date(notAfter),
      revoked: at === undefined ? null : new Date(at),
    }))
    const witnesses = trust.witnesses.map(({ vkey }) => vkey)
    const { producers, services, origin = null, signature } = trust
    terminal.out(`${asJson({ signature, keys, producers, services, origin, witnesses })}\n`)
    return
  }
  terminal.out(formatTrust(trust))
  if (trust.signature === 'unchecked') terminal.err('agent-audit: its signature is not checked: give --root\n')
}

function parseDays(text: string): number {
  const days = Number(text)
  if (/^\d+$/.test(text) && days <= 3_650) return days
  throw new InvalidArgumentError('expected a number of days')
}
