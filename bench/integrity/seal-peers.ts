/**
 * What sealing records costs by itself, beside other ways to prove them, over the same bytes: a seal has a leaf for each record,
 * and one digest, text and signature for 1,024 of them.
 */
import { createHash, createPrivateKey, hash, sign } from 'node:crypto'
import { formatProducerSeal, generateKey, LeafList, type ProducerSeal, signerFromPem } from '@agent-audit/seals'
import { rounded } from '../support/results.ts'
import { inTurn } from '../support/table-copies.ts'
import type { Figure } from './figures.ts'

const RECORDS = 1024
const RECORD_BYTES = 300
/** Times a round: those of a signature a record are fewer, since it takes so long. */
const TIMES = 40

const chunk = Buffer.alloc(RECORDS * RECORD_BYTES, 7)
const pem = generateKey('bench')
const signer = signerFromPem(pem)
const privateKey = createPrivateKey(pem.slice(pem.indexOf('-----BEGIN')))
const leaves = new LeafList()

interface Way {
  readonly name: string
  readonly times: number
  /** Of all 1,024 records. */
  readonly prove: () => void
}

const WAYS: readonly Way[] = [
  { name: 'leaves and a seal', times: TIMES, prove: seal },
  {
    name: 'beside: the floor, SHA-256 of each record by crypto.hash, kept nowhere',
    times: TIMES,
    prove: hashEachAtOnce,
  },
  { name: 'beside: SHA-256 of each record by createHash, kept nowhere', times: TIMES, prove: hashEach },
  { name: 'beside: a chain, SHA-256 of each record and the hash before, in hex', times: TIMES, prove: chainEach },
  { name: 'beside: an Ed25519 signature of each record', times: 1, prove: signEach },
]

export function measurePeers(rounds: number): Figure[] {
  const costs = new Map<Way, number[]>(WAYS.map((way) => [way, []]))
  for (const { prove } of WAYS) prove()
  for (let round = 0; round < rounds; round++) {
    for (const way of inTurn(WAYS, round)) costs.get(way)?.push(costOf(way))
  }
  return [...costs].map(([{ name }, values]) => ({ stage: 'sealing', name, unit: 'us an event', rounds: values }))
}

/** Microseconds of this thread's CPU a record. */
function costOf({ prove, times }: Way): number {
  const before = process.threadCpuUsage()
  for (let count = 0; count < times; count++) prove()
  const { user, system } = process.threadCpuUsage(before)
  return rounded((user + system) / (times * RECORDS), 4)
}

function seal(): void {
  leaves.clear()
  for (let record = 0; record < RECORDS; record++) leaves.add(chunk, record * RECORD_BYTES, (record + 1) * RECORD_BYTES)
  const content: ProducerSeal = {
    topic: 'audit.events',
    producerId: 'bench',
    runId: '0'.repeat(32),
    number: 0,
    first: 0,
    last: RECORDS - 1,
    count: RECORDS,
    schema: '0'.repeat(16),
    digest: leaves.digest(),
    gaps: [],
    undelivered: [],
    prev: undefined,
    time: Date.UTC(2026, 0),
    state: { kind: 'open' },
  }
  signer.sign(formatProducerSeal(content))
}

function each(use: (record: Buffer) => void): void {
  for (let record = 0; record < RECORDS; record++) {
    use(chunk.subarray(record * RECORD_BYTES, (record + 1) * RECORD_BYTES))
  }
}

function hashEachAtOnce(): void {
  each((record) => hash('sha256', record, 'binary'))
}

function hashEach(): void {
  each((record) => createHash('sha256').update(record).digest())
}

function chainEach(): void {
  let previous = '0'.repeat(64)
  each((record) => (previous = createHash('sha256').update(previous).update(record).digest('hex')))
}

function signEach(): void {
  each((record) => sign(null, record, privateKey))
}
