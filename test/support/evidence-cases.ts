/** Bundles that are right, changed or not whole, each with the verdict that every checker must give. */
import { signCheckpoint, signerFromPem, type TrustedKey, VerifierKey } from '@agent-audit/seals'
import {
  type Bundle,
  type EvidenceReport,
  type FindingKind,
  formatBundle,
  readRecord,
} from '@agent-audit/seals/evidence'
import { bundleOf, notarize, ORIGIN, reportOf, type SealedLog, trustOf } from './evidence.ts'

export interface EvidenceCase {
  readonly name: string
  readonly bytes: Buffer
  readonly trust?: string | undefined
  /** A vkey. */
  readonly root?: string | undefined
  readonly checkpoint?: string | undefined
  readonly verdict: EvidenceReport['verdict']
  /** Of one of the findings. */
  readonly kind?: FindingKind | undefined
}

type Change = Partial<Bundle> | ((bundle: Bundle) => Partial<Bundle>)

export function evidenceCases(log: SealedLog): EvidenceCase[] {
  const short = bundleOf(log, 'short')
  const trust = trustOf(log)
  const changed = (
    name: string,
    change: Change,
    [verdict, kind]: readonly [EvidenceReport['verdict'], FindingKind?],
    given: Partial<EvidenceCase> = {},
  ): EvidenceCase => {
    const bundle = { ...short, ...(typeof change === 'function' ? change(short) : change) }
    return { name, bytes: formatBundle(bundle), trust, verdict, kind, ...given }
  }
  return [
    changed('as it was exported', {}, ['verified']),
    changed('with no keys but its own', {}, ['unchecked', 'keys'], { trust: undefined }),
    ...changesOfRecords(log, changed, short),
    ...changesOfSeals(log, changed),
    ...changesOfKeys(log, changed),
    ...changesOfFile(changed('', {}, ['tampered', 'bundle'])),
  ]
}

type Changed = (
  name: string,
  change: Change,
  expected: readonly [EvidenceReport['verdict'], FindingKind?],
  given?: Partial<EvidenceCase>,
) => EvidenceCase

/** With the report of the records that are left: an attacker makes it again. */
function withRecords(bundle: Bundle, records: readonly Buffer[]): Partial<Bundle> {
  return { records, report: reportOf(bundle.sessionId, records) }
}

function changesOfRecords(log: SealedLog, changed: Changed, short: Bundle): EvidenceCase[] {
  const { records } = short
  const last = records.length - 1
  const edited = records.map((record, at) => (at === 2 ? replaced(record, 'alert(1)', 'alert(2)') : record))
  const open = bundleOf(log, 'open')
  return [
    changed('a field of one record', withRecords(short, edited), ['tampered', 'seal']),
    changed('a record left out', withRecords(short, records.toSpliced(3, 1)), ['tampered', 'seal']),
    changed('the last record left out', withRecords(short, records.slice(0, last)), ['tampered', 'seal']),
    changed(
      'the last record left out, with its leaf among those of other sessions',
      bundleOf(log, 'short', { hide: (index) => index === last }),
      ['incomplete', 'end'],
    ),
    changed('a record left out in the same way', bundleOf(log, 'short', { hide: (index) => index === 3 }), [
      'incomplete',
      'gap',
    ]),
    changed('two records swapped', { records: [records[1], records[0], ...records.slice(2)] as Buffer[] }, [
      'tampered',
      'record',
    ]),
    changed('a record twice', { records: [...records, records[last]] as Buffer[] }, ['tampered', 'record']),
    changed('another session', { sessionId: 'other' }, ['tampered', 'record']),
    changed('no records', { records: [], report: reportOf('short', []) }, ['tampered']),
    changed('another report', { report: short.report.replace('alert(1)', 'alert(0)') }, ['tampered', 'report']),
    changed(
      'another schema of the same fields',
      { schemas: short.schemas.map((text) => text.replace('agent_id', 'agent_ix')) },
      ['unchecked', 'schema'],
    ),
    changed('no schema', { schemas: [] }, ['tampered', 'schema']),
    changed('a session without an end', open, ['incomplete', 'end']),
    ...handedOver(log, changed),
  ]
}

/** Of a session that one run begins and another one ends. */
function handedOver(log: SealedLog, changed: Changed): EvidenceCase[] {
  const without = (type: string): Bundle => {
    const run = bundleOf(log, 'handed')
      .records.map(readRecord)
      .find(({ fields }) => fields['event_type'] === type)?.runId
    return bundleOf(log, 'handed', { hide: (_, record) => record.runId === run })
  }
  return [
    changed('two runs of a session', bundleOf(log, 'handed'), ['verified']),
    changed('its first run left out', without('session_start'), ['incomplete', 'run']),
    changed('its last run left out', without('session_end'), ['incomplete', 'end']),
  ]
}

function replaced(bytes: Buffer, from: string, to: string): Buffer {
  const changed = Buffer.from(bytes)
  const at = changed.indexOf(from)
  if (at !== -1) changed.write(to, at)
  return changed
}

function changesOfSeals(log: SealedLog, changed: Changed): EvidenceCase[] {
  const { tree } = notarize(log)
  const signer = signerFromPem(log.notary.pem)
  const forged = signCheckpoint(signer, { origin: ORIGIN, size: 7, root: tree.root(1) }, 1_800_000_000)
  return [
    changed('a seal left out', ({ seals }) => ({ seals: seals.slice(1) }), ['incomplete', 'unsealed']),
    changed('all seals left out', { seals: [], log: [] }, ['incomplete', 'unsealed']),
    changed('the seals swapped', ({ seals }) => ({ seals: seals.toReversed() }), ['tampered', 'bundle']),
    changed('a seal twice', ({ seals }) => ({ seals: [...seals.slice(0, 1), ...seals] }), ['tampered', 'bundle']),
    changed(
      'a leaf changed',
      ({ seals }) => ({ seals: seals.map((seal) => ({ ...seal, leaves: flipped(seal.leaves, 40) })) }),
      ['tampered', 'seal'],
    ),
    changed(
      'a leaf left out',
      ({ seals }) => ({ seals: seals.map((seal) => ({ ...seal, leaves: seal.leaves.subarray(32) })) }),
      ['tampered', 'seal'],
    ),
    changed(
      'another time in a seal',
      ({ seals }) => ({ seals: seals.map((seal) => ({ ...seal, note: seal.note.replace(/time 2/, 'time 3') })) }),
      ['tampered', 'signature'],
    ),
    changed('no proof of a seal', ({ seals }) => ({ seals: seals.map((seal) => ({ ...seal, proof: undefined })) }), [
      'unchecked',
      'checkpoint',
    ]),
    changed(
      'the proof of another leaf',
      ({ seals }) => ({
        seals: seals.map((seal) => ({ ...seal, proof: seal.proof && { ...seal.proof, index: seal.proof.index + 1 } })),
      }),
      ['tampered', 'proof'],
    ),
    changed('no checkpoint', { log: [] }, ['unchecked', 'checkpoint']),
    changed('a checkpoint left out', ({ log: notes }) => ({ log: notes.slice(1) }), ['tampered', 'fork']),
    changed('the checkpoints swapped', ({ log: notes }) => ({ log: notes.toReversed() }), ['tampered', 'fork']),
    changed('a fork of the log', ({ log: notes }) => ({ log: [...notes, { note: forged, consistency: [] }] }), [
      'tampered',
      'fork',
    ]),
  ]
}

function changesOfKeys(log: SealedLog, changed: Changed): EvidenceCase[] {
  const [other, root] = [log.newKey('agent-1'), log.newKey('root')]
  const { notes, tree } = notarize(log)
  const signer = signerFromPem(log.notary.pem)
  const ofKey = { notBefore: 0, notAfter: undefined, revoked: undefined }
  const notary = { ...ofKey, key: log.notary.verifier, role: 'notary' as const }
  const producer = { ...ofKey, key: log.producer.verifier, role: 'producer' as const }
  const keys = (...trusted: TrustedKey[]): Partial<EvidenceCase> => ({ trust: trustOf(log, { keys: trusted }) })
  const signedTrust = signerFromPem(root.pem).sign(trustOf(log))
  const newest = notes.get(tree.size)
  const fork = signCheckpoint(signer, { origin: ORIGIN, size: tree.size, root: Buffer.alloc(32, 1) }, 1_800_000_000)
  const later = signCheckpoint(
    signer,
    { origin: ORIGIN, size: tree.size + 5, root: Buffer.alloc(32, 1) },
    1_800_000_000,
  )
  return [
    changed('a producer that the trust file does not have', {}, ['unchecked', 'key'], keys(notary)),
    changed('a notary that the trust file does not have', {}, ['unchecked', 'key'], keys(producer)),
    changed(
      'another key of the producer',
      {},
      ['unchecked', 'key'],
      keys({ ...producer, key: other.verifier }, notary),
    ),
    changed(
      'a producer key in the role of a consumer',
      {},
      ['tampered', 'key'],
      keys({ ...producer, role: 'consumer' }, notary),
    ),
    changed('a key that was revoked before', {}, ['tampered', 'key'], keys({ ...producer, revoked: 1000 }, notary)),
    changed(
      'a key that was revoked later',
      {},
      ['verified'],
      keys({ ...producer, revoked: Date.UTC(2100, 0) }, notary),
    ),
    changed(
      'a key that is not valid yet',
      {},
      ['tampered', 'key'],
      keys({ ...producer, notBefore: Date.UTC(2100, 0) }, notary),
    ),
    changed('another origin', {}, ['tampered', 'checkpoint'], { trust: trustOf(log, { origin: 'other.example' }) }),
    changed('its trust file signed by the root key', { trust: signedTrust }, ['verified'], {
      trust: undefined,
      root: root.verifier.vkey,
    }),
    changed('its trust file not signed by the root key', {}, ['tampered', 'signature'], {
      trust: undefined,
      root: root.verifier.vkey,
    }),
    changed(
      'its trust file signed by another root key',
      { trust: signerFromPem(log.newKey('root').pem).sign(trustOf(log)) },
      ['tampered', 'signature'],
      { trust: undefined, root: root.verifier.vkey },
    ),
    changed('a given trust file without the signature of the root key', {}, ['unchecked', 'signature'], {
      root: root.verifier.vkey,
    }),
    changed('a given trust file that is none', {}, ['unchecked', 'trust'], { trust: 'no trust\n' }),
    changed('the newest checkpoint from outside', {}, ['verified'], { checkpoint: newest }),
    changed('a checkpoint of a fork from outside', {}, ['tampered', 'fork'], { checkpoint: fork }),
    changed('a later checkpoint from outside', {}, ['unchecked', 'checkpoint'], { checkpoint: later }),
  ]
}

function changesOfFile({ bytes, ...rest }: EvidenceCase): EvidenceCase[] {
  const text = bytes.toString('latin1')
  const edited = (name: string, from: string | RegExp, to: string, more: Partial<EvidenceCase> = {}): EvidenceCase => {
    return { ...rest, name, bytes: Buffer.from(text.replace(from, to), 'latin1'), ...more }
  }
  const parts = text.slice(0, text.indexOf('\n\n')).split('\n')
  return [
    { ...rest, name: 'an empty file', bytes: Buffer.alloc(0), verdict: 'unchecked', kind: 'bundle' },
    { ...rest, name: 'cut in the middle', bytes: bytes.subarray(0, bytes.length / 2) },
    { ...rest, name: 'one byte less', bytes: bytes.subarray(0, -1) },
    { ...rest, name: 'one byte more', bytes: Buffer.concat([bytes, Buffer.of(0)]) },
    { ...rest, name: 'one byte flipped', bytes: flipped(bytes, bytes.length - 10) },
    { ...rest, name: 'itself twice', bytes: Buffer.concat([bytes, bytes]) },
    edited('another version', 'audit-evidence/v1', 'audit-evidence/v2', { verdict: 'unchecked' }),
    edited('a part left out of the head', `${parts[3]}\n`, ''),
    edited('a part twice in the head', `${parts[3]}\n`, `${parts[3]}\n${parts[3]}\n`),
    edited('two parts of the head swapped', `${parts[3]}\n${parts[4]}`, `${parts[4]}\n${parts[3]}`),
    edited('a length with a leading zero', /part trust /, 'part trust 0'),
    edited('a session that is not encoded', 'session short', 'session sh%6Frt'),
    edited('a carriage return in the head', 'session short\n', 'session short\r\n'),
  ]
}

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at % changed.length] = (changed[at % changed.length] ?? 0) ^ 1
  return changed
}

/** The vkey of a case as `checkEvidence` takes it. */
export function rootOf({ root }: EvidenceCase): VerifierKey | undefined {
  return root === undefined ? undefined : VerifierKey.parse(root)
}
