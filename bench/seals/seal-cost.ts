/** What a producer's seal costs: a leaf for each record, digest and text for 1,024 of them, and the signature. `npm run bench:seals`. */
import { formatProducerSeal, generateKey, LeafList, type ProducerSeal, signerFromPem } from '@agent-audit/seals'

const RECORDS = 1_024
const ROUNDS = 60
const SEALS_A_ROUND = 100

const chunk = Buffer.alloc(RECORDS * 400, 7)
const signer = signerFromPem(generateKey('bench'))
const leaves = new LeafList()

function addLeaves(bytes: number): void {
  leaves.clear()
  for (let record = 0; record < RECORDS; record += 1) leaves.add(chunk, record * bytes, (record + 1) * bytes)
}

function seal(): string {
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
  return signer.sign(formatProducerSeal(content))
}

/** Microseconds of CPU a record: the best of all rounds, since other processes disturb single ones. */
function costOf(work: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage()
    for (let count = 0; count < SEALS_A_ROUND; count += 1) work()
    const { user, system } = process.cpuUsage(before)
    best = Math.min(best, (user + system) / (SEALS_A_ROUND * RECORDS))
  }
  return best
}

for (const bytes of [300, 400]) {
  const perLeaf = costOf(() => addLeaves(bytes))
  process.stdout.write(`leaf of a record of ${bytes} B: ${perLeaf.toFixed(3)} us\n`)
}
process.stdout.write(`digest, text and signature of 1,024 records: ${costOf(seal).toFixed(3)} us a record\n`)
