/**
 * `npm run bench:sealing`: what seals cost a producer. The same records with a key and without, in turns, each in a process of its
 * own, into an embedded log: CPU time of the agent's thread and of the rest of the process, which is the delivery thread's. In the
 * same run: the floor, which is one SHA-256 a record by `crypto.hash` and nothing else, and the leaf as the producer makes it.
 */
import { spawnSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createAuditTrail } from '@agent-audit/producer'
import { generateKey, LeafList } from '@agent-audit/seals'

/** Most that a record may cost the delivery thread, microseconds. */
const BOUND_US = 1
const BURST = 2000
const FLOOR_RECORDS = 200_000
/** A text that makes a record of some 300 bytes. */
const REASONING = 'the order is below the limit of the policy and the address was confirmed by the customer before'

/** CPU microseconds a record. */
interface Cost {
  readonly agent: number
  readonly delivery: number
}

async function measure(sealed: boolean, records: number): Promise<Cost> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-seals-'))
  const signing = sealed ? { key: generateKey('bench') } : undefined
  const trail = createAuditTrail({ agentId: 'bench', dataDir: directory, signing, handleExit: false })
  const session = trail.startSession()
  const record = async (count: number): Promise<void> => {
    for (let done = 0; done < count; done += BURST) {
      for (let index = 0; index < BURST; index++) session.decision({ reasoning: REASONING })
      await trail.flush()
    }
  }
  try {
    // Compiled code, open files.
    await record(records / 4)
    const [all, agent] = [process.cpuUsage(), process.threadCpuUsage()]
    await record(records)
    const [spent, own] = [process.cpuUsage(all), process.threadCpuUsage(agent)]
    const agentUs = own.user + own.system
    return { agent: agentUs / records, delivery: (spent.user + spent.system - agentUs) / records }
  } finally {
    await trail.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** CPU microseconds of a record of 300 bytes: the hash alone, and its leaf. */
function floor(): { hash: number; leaf: number } {
  const record = Buffer.alloc(301, 7)
  const leaves = new LeafList()
  const cost = (work: () => void): number => {
    const before = process.threadCpuUsage()
    for (let done = 0; done < FLOOR_RECORDS; done++) work()
    const { user, system } = process.threadCpuUsage(before)
    leaves.clear()
    return (user + system) / FLOOR_RECORDS
  }
  return { hash: cost(() => hash('sha256', record, 'binary')), leaf: cost(() => leaves.add(record, 1, record.length)) }
}

function inProcess(sealed: boolean, records: number): Cost {
  const file = fileURLToPath(import.meta.url)
  const args = [
    '--conditions=agent-audit-source',
    file,
    '--one',
    sealed ? 'sealed' : 'plain',
    '--records',
    `${records}`,
  ]
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Cost
}

const { values } = parseArgs({
  options: { rounds: { type: 'string' }, records: { type: 'string' }, one: { type: 'string' } },
})
const records = Number(values.records ?? 200_000)
if (values.one !== undefined) {
  process.stdout.write(JSON.stringify(await measure(values.one === 'sealed', records)))
  process.exit(0)
}
const differences: Cost[] = []
floor() // Compiled code.
const floors: { hash: number; leaf: number }[] = []
for (let round = 1; round <= Number(values.rounds ?? 5); round++) {
  // The order changes: the machine's speed may drift.
  const order = round % 2 === 0 ? [true, false] : [false, true]
  floors.push(floor())
  const [first, second] = order.map((sealed) => inProcess(sealed, records))
  const [plain, sealed] = round % 2 === 0 ? [second, first] : [first, second]
  if (plain === undefined || sealed === undefined) throw new Error('a round without a result')
  differences.push({ agent: sealed.agent / plain.agent, delivery: sealed.delivery - plain.delivery })
  const figure = (of: Cost): string => `agent ${of.agent.toFixed(2)} us, delivery ${of.delivery.toFixed(2)} us`
  process.stdout.write(`round ${round}: without a key ${figure(plain)}; with a key ${figure(sealed)}\n`)
}
const agent = median(differences.map((each) => each.agent))
const delivery = median(differences.map((each) => each.delivery))
process.stdout.write(
  `a record: ${agent.toFixed(3)} of the agent's thread without a key, and ${delivery.toFixed(2)} us more in the delivery thread (bound ${BOUND_US.toFixed(1)})\n`,
)
const bare = median(floors.map((each) => each.hash))
const leaf = median(floors.map((each) => each.leaf))
process.stdout.write(`the floor, one SHA-256 a record: ${bare.toFixed(2)} us; a leaf: ${leaf.toFixed(2)} us\n`)
process.exit(delivery <= BOUND_US ? 0 : 1)
