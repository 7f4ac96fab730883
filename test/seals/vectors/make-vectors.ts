/**
 * The conformance vectors of seals/vectors/, all from fixed keys and times: `npm run vectors` writes them. A verifier in another
 * language reads them; docs/integrity.md says what each field means. Bytes are hex or, where the format has Base64, Base64.
 */
import { createHash } from 'node:crypto'
import {
  applyRotation,
  bundlesBetween,
  type ConsumerSeal,
  EMPTY_TRUST,
  formatCheckpoint,
  formatConsumerSeal,
  formatEntries,
  formatNote,
  formatProducerSeal,
  formatRotation,
  formatTile,
  formatTlogProof,
  formatTrust,
  keyFaultAt,
  type KeySigner,
  leafHash,
  LeafList,
  MerkleTree,
  noteHash,
  type ProducerSeal,
  signCheckpoint,
  tilePath,
  tilesBetween,
  type Trust,
  type TrustedKey,
} from '@agent-audit/seals'
import { approvalVectors } from './approval-vectors.ts'
import { bundleVectors } from './bundle-vectors.ts'
import { recordVectors } from './record-vectors.ts'
import { erasureVectors } from './erasure-vectors.ts'
import { keyOf, seedOf, type Vectors } from './fixed-keys.ts'

const ORIGIN = 'audit.example/seals'
const START = Date.UTC(2026, 10, 23, 21)
const DAY = 86_400_000
const RUN = '0197c2d4a1b27c3e9f00112233445566'

const agent = keyOf('acme%2Fcheckout%20agent', 1)
const consumer = keyOf('consumer-1', 2)
const notary = keyOf('notary-1', 3)
const witness = keyOf('witness.example/w1', 4)
const successor = keyOf(agent.keyName, 5)
const root = keyOf('root', 6)

/** Any bytes are a record here: the leaf does not read them. */
const RECORDS = [
  Buffer.alloc(0),
  Buffer.from('00', 'hex'),
  Buffer.from('record 2'),
  Buffer.alloc(400, 7),
  Buffer.from([255, 0, 254]),
]

function digestOf(records: readonly Buffer[]): Buffer {
  const list = new LeafList()
  for (const record of records) list.add(record, 0, record.length)
  return list.digest()
}

export function keyVectors(): Vectors {
  const keys = [agent, consumer, notary, witness, successor, root].map(({ key }, index) => ({
    name: key.name,
    seed: seedOf(index + 1).toString('hex'),
    public_key: key.publicKey.toString('hex'),
    key_id: key.id.toString(16).padStart(8, '0'),
    vkey: key.vkey,
    cosigner_vkey: key.cosigner.vkey,
  }))
  const [{ vkey } = { vkey: '' }] = keys
  return {
    keys,
    malformed: [
      ['no parts', 'acme'],
      ['another key id', vkey.replace(/\+[0-9a-f]{8}\+/, '+00000000+')],
      ['another type', `${vkey.slice(0, vkey.lastIndexOf('+') + 1)}AgAA`],
      ['a name with a space', `a ${vkey}`],
      ['Base64 of another form', `${vkey}=`],
    ].map(([what, text]) => ({ what, vkey: text })),
  }
}

export function leafVectors(): Vectors {
  const lists = [RECORDS, RECORDS.slice(0, 1), []].map((records) => ({
    records: records.map((record) => record.toString('hex')),
    leaves: records.map((record) => leafHash(record).toString('hex')),
    digest: digestOf(records).toString('base64'),
  }))
  return { lists }
}

function producerSeals(): { readonly seals: readonly ProducerSeal[]; readonly notes: readonly string[] } {
  const first: ProducerSeal = {
    topic: 'audit.events',
    producerId: 'acme/checkout agent',
    runId: RUN,
    number: 0,
    first: 0,
    last: 4,
    count: 5,
    schema: '9c1f00aa22bb44cc',
    digest: digestOf(RECORDS),
    gaps: [],
    undelivered: [],
    prev: undefined,
    time: START,
    state: { kind: 'open' },
  }
  const notes = [agent.sign(formatProducerSeal(first))]
  const seals = [first]
  const add = (change: Partial<ProducerSeal>): void => {
    const before = seals.at(-1) ?? first
    const seal = {
      ...before,
      number: before.number + 1,
      prev: noteHash(notes.at(-1) ?? ''),
      gaps: [],
      undelivered: [],
      ...change,
    }
    seals.push(seal)
    notes.push(agent.sign(formatProducerSeal(seal)))
  }
  add({
    first: 5,
    last: 12,
    count: 3,
    digest: digestOf(RECORDS.slice(0, 3)),
    gaps: [
      { first: 6, last: 9 },
      { first: 12, last: 12 },
    ],
    undelivered: [{ first: 2, last: 2, code: 'RECORD_TOO_LARGE' }],
    time: START + 1_000,
  })
  add({ first: 13, last: 12, count: 0, digest: digestOf([]), time: START + 61_000 })
  add({
    first: 13,
    last: 13,
    count: 1,
    digest: digestOf(RECORDS.slice(0, 1)),
    state: { kind: 'closed' },
    time: START + 62_000,
  })
  add({ first: 14, last: 13, count: 0, digest: digestOf([]), state: { kind: 'adopted', by: 'f'.repeat(32) } })
  return { seals, notes }
}

function producerFields(seal: ProducerSeal): Vectors {
  const { prev, digest, state, time, ...rest } = seal
  return {
    ...rest,
    digest: digest.toString('base64'),
    prev: prev?.toString('base64') ?? null,
    time: new Date(time).toISOString(),
    state: state.kind,
    adopter: state.kind === 'adopted' ? state.by : null,
  }
}

/** One change for each rule that a reader of the text keeps. */
function malformedProducerSeals(text: string): Vectors[] {
  const changes: [string, string | RegExp, string][] = [
    ['another version', 'audit-seal/v1', 'audit-seal/v2'],
    ['a consumer', 'v1 producer', 'v1 consumer'],
    ['lines in another order', /(number .*\n)(range .*\n)/, '$2$1'],
    ['a line twice', /(number .*\n)/, '$1$1'],
    ['a line more', /$/, 'more\n'],
    ['a line less', /state .*\n/, ''],
    ['two spaces', 'range ', 'range  '],
    ['a carriage return', '\ncount', '\r\ncount'],
    ['no line feed at the end', /\n$/, ''],
    ['a number with a zero before it', 'number 1', 'number 01'],
    ['a number above 2^53 - 1', 'number 1', 'number 9007199254740992'],
    ['a range that runs back', 'range 5 12', 'range 5 3'],
    ['another count than the range has without its gaps', 'count 3', 'count 4'],
    ['a gap outside of the range', 'gap 12 12', 'gap 12 13'],
    ['gaps that touch', 'gap 12 12', 'gap 10 12'],
    ['gaps that do not ascend', /(gap 6 9\n)(gap 12 12\n)/, '$2$1'],
    ['an undelivered range of a later seal', 'undelivered 2 2', 'undelivered 13 13'],
    ['a producer in another encoding', '%2F', '%2f'],
    ['a run in capitals', RUN, RUN.toUpperCase()],
    ['a short digest', /(list-sha256 ).{4}/, '$1'],
    ['Base64 with other bits at its end', /(list-sha256 .{42}).=/, '$1B='],
    ['no hash of the seal before', /prev .*/, 'prev none'],
    ['a time without milliseconds', '.000Z', 'Z'],
    ['a day that is none', '2026-11-23', '2026-11-31'],
    ['another state', 'state open', 'state ended'],
    ['adoption by itself', 'state open', `state adopted ${RUN}`],
  ]
  return changes.map(([what, from, to]) => ({ what, text: text.replace(from, to) }))
}

export function producerSealVectors(): Vectors {
  const { seals, notes } = producerSeals()
  return {
    vkey: agent.vkey,
    seals: seals.map((seal, index) => {
      const note = notes[index] ?? ''
      return {
        fields: producerFields(seal),
        text: formatProducerSeal(seal),
        note,
        hash: noteHash(note).toString('base64'),
      }
    }),
    malformed: malformedProducerSeals(formatProducerSeal(seals[1] as ProducerSeal)),
  }
}

function consumerSeals(): ConsumerSeal[] {
  const first: ConsumerSeal = {
    logId: '00112233445566aa',
    topic: 'audit.events',
    partition: 3,
    first: 0,
    last: 99,
    rows: 1,
    events: { count: 98, digest: digestOf(RECORDS) },
    skipped: { count: 2, digest: digestOf([]) },
    prev: undefined,
  }
  const prev = textHash(formatConsumerSeal(first))
  return [
    first,
    {
      ...first,
      first: 100,
      last: 100,
      events: { ...first.events, count: 1 },
      skipped: { ...first.skipped, count: 0 },
      prev,
    },
  ]
}

/** What the next seal of a consumer names: another consumer signs the same text with another key. */
function textHash(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function rowFields({ count, digest }: ConsumerSeal['events']): Vectors {
  return { count, digest: digest.toString('base64') }
}

export function consumerSealVectors(): Vectors {
  const seals = consumerSeals()
  const [text = ''] = seals.map(formatConsumerSeal)
  const changes: [string, string | RegExp, string][] = [
    ['a producer', 'v1 consumer', 'v1 producer'],
    ['an empty range', 'range 0 99', 'range 100 99'],
    ['other rows', 'rows 1', 'rows 2'],
    ['more events than offsets', 'events 98', 'events 101'],
    ['another algorithm', 'skipped 2 sha256', 'skipped 2 sha512'],
    ['a negative partition', 'partition 3', 'partition -3'],
    ['no topic', ' audit.events', ''],
    ['a line more', /$/, '\n'],
  ]
  return {
    vkey: consumer.vkey,
    seals: seals.map((seal) => {
      const { events, skipped, prev, ...rest } = seal
      const fields = {
        ...rest,
        events: rowFields(events),
        skipped: rowFields(skipped),
        prev: prev?.toString('base64') ?? null,
      }
      const said = formatConsumerSeal(seal)
      return { fields, text: said, note: consumer.sign(said), textHash: textHash(said).toString('base64') }
    }),
    malformed: changes.map(([what, from, to]) => ({ what, text: text.replace(from, to) })),
  }
}

function named(pairs: readonly string[][]): Vectors[] {
  return pairs.map(([what, note]) => ({ what, note }))
}

export function noteVectors(): Vectors {
  const text = 'first line\n\nthird line\n'
  const note = agent.sign(text)
  const line = agent.signatureLine(text)
  const twice = formatNote(text, [agent.signatureLine(text), consumer.signatureLine(text)])
  const valid = [
    ['one signature', note],
    ['a second key', twice],
    ['an unknown key beside it', formatNote(text, [witness.signatureLine('other\n'), line])],
    ['the same signature twice', formatNote(text, [line, line])],
  ]
  const wrong = [
    ['another text', note.replace('third', 'Third')],
    ['an unknown key alone', witness.sign(text)],
    [
      'a wrong signature of a known key beside a right one',
      formatNote(text, [line, consumer.signatureLine('other\n')]),
    ],
    ['a cosignature in place of a signature', formatNote(text, [agent.cosignatureLine(text, 1)])],
  ]
  const malformed = [
    ['no signature', `${text}\n`],
    ['no empty line', 'text\n'],
    ['no line feed at the end', note.slice(0, -1)],
    ['an empty line at the end', `${note}\n`],
    ['a hyphen for the dash', note.replace('—', '-')],
    ['a key name with a plus', note.replace('acme', 'a+b')],
    ['no key name', note.replace(agent.keyName, '')],
    ['a further field', note.replace(/\n$/, ' x\n')],
    ['Base64 of another form', `${text}\n— a AAAAAAAB=\n`],
    ['a key id alone', `${text}\n— a AAAAAA==\n`],
    ['a carriage return', note.replace('first line', 'first line\r')],
    ['a tab', note.replace('third', 'third\t')],
    ['65 signatures', `${text}\n${line.repeat(65)}`],
  ]
  return { keys: [agent.vkey, consumer.vkey], valid: named(valid), wrong: named(wrong), malformed: named(malformed) }
}

function texts(hashes: readonly Buffer[]): string[] {
  return hashes.map((hash) => hash.toString('base64'))
}

export function treeVectors(): Vectors {
  const leaves = Array.from({ length: 11 }, (_, index) => `leaf ${index}`)
  const tree = new MerkleTree()
  for (const leaf of leaves) tree.append(leafHash(leaf))
  const sizes = Array.from({ length: leaves.length + 1 }, (_, size) => size)
  return {
    leaves,
    leaf_hashes: leaves.map((leaf) => leafHash(leaf).toString('base64')),
    roots: sizes.map((size) => tree.root(size).toString('base64')),
    inclusion: sizes.flatMap((size) =>
      leaves.slice(0, size).map((_, index) => ({ index, size, proof: texts(tree.inclusionProof(index, size)) })),
    ),
    consistency: sizes.flatMap((to) =>
      sizes.slice(0, to + 1).map((from) => ({ from, to, proof: texts(tree.consistencyProof(from, to)) })),
    ),
  }
}

export function logVectors(): Vectors {
  const notes = [...producerSeals().notes, ...consumerSeals().map((seal) => consumer.sign(formatConsumerSeal(seal)))]
  const entries = notes.map((note) => Buffer.from(note))
  const tree = new MerkleTree()
  for (const entry of entries) tree.append(leafHash(entry))
  const seconds = START / 1_000
  const checkpoints = [1, 3, notes.length].map((size) => {
    const checkpoint = { origin: ORIGIN, size, root: tree.root(size) }
    const note = signCheckpoint(notary, checkpoint, seconds + size)
    const cosigned = note + witness.cosignatureLine(formatCheckpoint(checkpoint), seconds + size + 1)
    return {
      size,
      root: checkpoint.root.toString('base64'),
      seconds: seconds + size,
      note: size === 3 ? note : cosigned,
    }
  })
  const { note = '' } = checkpoints.at(-1) ?? {}
  const proof = formatTlogProof({ index: 2, proof: tree.inclusionProof(2), checkpoint: note })
  const forged = signCheckpoint(notary, { origin: ORIGIN, size: 3, root: leafHash('forged') }, seconds + 3)
  return {
    origin: ORIGIN,
    notary: notary.vkey,
    notary_cosigner: notary.key.cosigner.vkey,
    witness: witness.key.cosigner.vkey,
    notes,
    checkpoints,
    forked_checkpoint: forged,
    cut: { notes: notes.slice(0, -2), checkpoint: note },
    tlog_proof: { index: 2, proof },
    tiles: tilesBetween(0, notes.length).map((tile) => ({
      path: tilePath(tile),
      hex: formatTile((level, at) => tree.subtree(level, at), tile).toString('hex'),
    })),
    bundles: bundlesBetween(0, notes.length).map((tile) => ({
      path: tilePath(tile),
      hex: formatEntries(entries).toString('hex'),
    })),
  }
}

export function trustVectors(): Vectors {
  const trusted = (signer: KeySigner, role: TrustedKey['role'], change: Partial<TrustedKey> = {}): TrustedKey => ({
    key: signer.key,
    role,
    notBefore: START,
    notAfter: undefined,
    revoked: undefined,
    ...change,
  })
  const trust: Trust = {
    ...EMPTY_TRUST,
    keys: [
      trusted(agent, 'producer'),
      trusted(consumer, 'consumer', { notAfter: START + 30 * DAY, revoked: START + 20 * DAY }),
      trusted(notary, 'notary'),
    ],
    producers: ['acme/checkout agent', 'other'],
    services: ['approval desk'],
    origin: ORIGIN,
    witnesses: [witness.key.cosigner],
  }
  const rotation = agent.sign(formatRotation({ key: agent.key, next: successor.key, time: START + 5 * DAY }))
  const text = formatTrust(trust)
  const times = [-1, 0, 20 * DAY - 1, 20 * DAY, 30 * DAY].map((offset) => START + offset)
  const changes: [string, string | RegExp, string][] = [
    ['another role', ' producer 2026', ' admin 2026'],
    ['a key in two roles', consumer.vkey, agent.vkey],
    ['a window that ends before it begins', '2026-12-23', '2025-12-23'],
    ['a comment', 'producer other', '# other'],
    ['a service before a producer', /(producer other\n)(service .*\n)/, '$2$1'],
    ['a service twice', /(service .*\n)/, '$1$1'],
    ['a producer twice', 'producer other', 'producer acme%2Fcheckout%20agent'],
    ['a witness of type 1', witness.key.cosigner.vkey, witness.vkey],
  ]
  return {
    text,
    root: root.vkey,
    signed: root.sign(text),
    windows: trust.keys.flatMap((each) =>
      times.map((time) => ({
        vkey: each.key.vkey,
        time: new Date(time).toISOString(),
        fault: keyFaultAt(each, time) ?? null,
      })),
    ),
    rotation: { note: rotation, overlap_days: 7, trust_after: formatTrust(applyRotation(trust, rotation, 7 * DAY)) },
    malformed: changes.map(([what, from, to]) => ({ what, text: text.replace(from, to) })),
  }
}

export const VECTOR_FILES: Readonly<Record<string, () => Vectors>> = {
  'keys.json': keyVectors,
  'leaves.json': leafVectors,
  'records.json': recordVectors,
  'notes.json': noteVectors,
  'producer-seals.json': producerSealVectors,
  'consumer-seals.json': consumerSealVectors,
  'trees.json': treeVectors,
  'log.json': logVectors,
  'trust.json': trustVectors,
  'approvals.json': approvalVectors,
  'bundles.json': bundleVectors,
  'erasures.json': erasureVectors,
}

export function vectorText(make: () => Vectors): string {
  return `${JSON.stringify(make(), undefined, 2)}\n`
}
