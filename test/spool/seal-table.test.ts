/** The leaves of a run that is sealed: in the row of their chunk, and kept when it is trimmed before it is sealed. */
import { randomBytes } from 'node:crypto'
import {
  adoptSpools,
  type AdoptedSpool,
  type Chunk,
  type ChunkLeaves,
  NEW_CHAIN,
  openRunSpool,
} from '@agent-audit/spool'
import { expect, it, onTestFinished } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { chunkOf, runSql, TOPIC } from './support.ts'

const RUN = 'a'.repeat(32)
const RECORDS = 5

function open(directory: string): ReturnType<typeof openRunSpool> {
  const seals = { producerId: 'agent-1', chain: NEW_CHAIN, leaves: [] }
  const spool = openRunSpool({ directory, runId: RUN, topic: TOPIC, maxBytes: 1e6, fsync: false, seals })
  onTestFinished(() => spool.close())
  spool.bind({ cluster: 'c', partitions: 4 })
  return spool
}

function leavesOf({ firstSeq, ends }: Chunk): ChunkLeaves {
  const records = ends.length
  return { firstSeq, records, schema: '00000000000000ff', leaves: randomBytes(32 * records) }
}

/** Appends chunks of five records. @returns their leaves. */
function fill(spool: ReturnType<typeof openRunSpool>, chunks: number): ChunkLeaves[] {
  return Array.from({ length: chunks }, (_, index) => {
    const chunk = chunkOf(index * RECORDS, RECORDS)
    const leaves = leavesOf(chunk)
    spool.append(chunk, { leaves })
    return leaves
  })
}

function asText(leaves: readonly ChunkLeaves[] | undefined): unknown {
  return leaves?.map((each) => ({ ...each, leaves: Buffer.from(each.leaves).toString('hex') }))
}

/** The one spool of a directory, as the next owner finds it. */
function adopt(directory: string): AdoptedSpool {
  const { spools } = adoptSpools({ directory })
  const [spool] = spools
  if (spool === undefined) throw new Error('no spool')
  onTestFinished(() => spool.close())
  return spool
}

it('the next owner finds the leaves that no seal covers, of chunks in the file and of those that were trimmed', () => {
  const directory = makeTempDirectory()
  const spool = open(directory)
  const all = fill(spool, 4)
  spool.trim(2)
  expect(asText(spool.seals?.leaves())).toEqual(asText(all))
  const next = { number: 1, nextSeq: RECORDS, prev: randomBytes(32), undelivered: [], ended: false }
  spool.seals?.seal('note', next)
  expect(asText(spool.seals?.leaves())).toEqual(asText(all.slice(1)))
  spool.trim(3)
  spool.close()
  expect(asText(adopt(directory).seals?.leaves())).toEqual(asText(all.slice(1)))
})

it('leaves that a seal covers go with their chunk, and the file counts no byte of them any more', () => {
  const spool = open(makeTempDirectory())
  fill(spool, 4)
  const note = 'note'
  spool.seals?.seal(note, { number: 1, nextSeq: 4 * RECORDS, prev: randomBytes(32), undelivered: [], ended: true })
  spool.trim(4)
  expect(spool.bytes).toBe(note.length)
  expect(spool.seals).toMatchObject({ finished: false })
  spool.seals?.sent(0)
  expect(spool.bytes).toBe(0)
  expect(spool.seals).toMatchObject({ finished: true })
})

it('a file that was handed over has no leaves left to seal, though its chunks wait', () => {
  const directory = makeTempDirectory()
  const spool = open(directory)
  fill(spool, 4)
  spool.seals?.handedOver()
  spool.trim(1)
  expect(spool.seals?.leaves()).toEqual([])
  spool.close()
  expect(adopt(directory).seals).toMatchObject({ finished: true })
})

it.each(['chunk', 'leaves'])('leaves in the table %s that are damaged are named, not sealed', (table) => {
  const directory = makeTempDirectory()
  const spool = open(directory)
  fill(spool, 4)
  spool.trim(2)
  const { file } = spool
  spool.close()
  runSql(file, `UPDATE ${table} SET leaves = CAST(substr(leaves, 1, 20) || x'0000' || substr(leaves, 23) AS BLOB)`)
  const { seals } = adopt(directory)
  const first = table === 'leaves' ? 0 : 2 * RECORDS
  expect(() => seals?.leaves()).toThrow(`the leaves from run_seq ${first} on in ${file} are damaged`)
})
