/** The sink of one process: the model store, behind a network that loses, delays and repeats. */
import { AuditUnavailableError } from '@agent-audit/schemas'
import type {
  ClickHouseSink,
  Insert,
  InsertAnswer,
  LogPartition,
  OffsetRange,
  StoredRow,
} from '@agent-audit/consumer/pipeline'
import { decodeRows, type Row } from './insert-rows.ts'
import { describeRows, type ModelStore } from './model-store.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

const FAULTS = { lost: 'store: request lost', answerLost: 'store: answer lost' } as const

export interface StoreParts {
  readonly world: World
  readonly store: ModelStore
  readonly process: Process
  /** Consumer group that every log is registered under. */
  readonly groupId: string
}

export function createModelSink(parts: StoreParts): ClickHouseSink {
  const { store, process } = parts
  function ask<T>(what: string, answer: () => T): Promise<T> {
    return process.call<T>({
      to: 'store',
      what,
      faults: FAULTS,
      serve: (reply) => (store.down ? reply.fail(unreachable()) : reply.ok(answer())),
    })
  }
  const sent = new Set<string>()
  return {
    now: () => ask('now', () => store.now()),
    runningInserts: (logPartition) =>
      ask(`running p${logPartition.partition}`, () => store.runningInserts(logPartition)),
    accounted: (logPartition, from) =>
      ask(`accounted p${logPartition.partition} from ${from}`, () => rangesOf(offsetsOf(store, logPartition), from)),
    countOffsets: (logPartition, { first, last }) =>
      ask(
        `count p${logPartition.partition} from ${first} to ${last}`,
        () => [...offsetsOf(store, logPartition)].filter((offset) => offset >= first && offset <= last).length,
      ),
    expired: (logPartition, from) =>
      ask(`expired p${logPartition.partition} from ${from}`, () => rangesOf(store.notedIn(logPartition), from)),
    deadInARow: (logPartition, below, limit) =>
      ask(`dead in a row p${logPartition.partition} below ${below}`, () =>
        deadInARow(store, logPartition, { below, limit }),
      ),
    rowsBetween: (logPartition, { first, last }, which) =>
      ask(`${which} rows p${logPartition.partition} from ${first} to ${last}`, () => {
        const forged = store.forgery[which](keyOf(logPartition))
        const rows = which === 'counting' ? [...store.rowsOf(logPartition).values()].map(toStoredRow) : []
        // Of one offset the server gives them in any order.
        return [...forged, ...rows]
          .filter(({ offset }) => offset >= first && offset <= last)
          .toSorted((one, other) => one.offset - other.offset)
      }),
    quarantined: (logPartition) =>
      ask(`quarantined p${logPartition.partition}`, () => {
        const key = keyOf(logPartition)
        const counting = new Set([
          ...store.rowsOf(logPartition).keys(),
          ...store.forgery.counting(key).map(({ offset }) => offset),
        ])
        const all = [...new Set(store.forgery.offsets(key))]
        return all.filter((offset) => !counting.has(offset)).toSorted((a, b) => a - b)
      }),
    highestSeqs: (logPartition, runIds) =>
      ask(`highest p${logPartition.partition}`, () => highestSeqs(store, logPartition, runIds)),
    stored: (logPartition, records) =>
      ask(`stored p${logPartition.partition}`, () => {
        const [identities, rows] = [store.identitiesOf(logPartition), store.rowsOf(logPartition)]
        return records.flatMap(({ runId, runSeq }) => {
          const offset = identities.get(`${runId}:${runSeq}`)
          return offset === undefined ? [] : [{ runId, runSeq, offset, eventId: rows.get(offset)?.eventId ?? '' }]
        })
      }),
    insert: (insert) => {
      if (sent.has(insert.queryId)) parts.world.fail(`query id ${insert.queryId} was sent twice`)
      sent.add(insert.queryId)
      return sendInsert(parts, insert)
    },
    checkAccess: () => ask('access', () => undefined),
    registration: () => ask('group', () => ({ consumerGroup: parts.groupId, topicId: '' })),
    mostParts: () => ask('parts', () => parts.world.random.below(400)),
    close: () => Promise.resolve(),
  }
}

function sendInsert({ world, store, process }: StoreParts, insert: Insert): Promise<InsertAnswer> {
  const { kernel, random, faults } = world
  const rows = decodeRows(insert.table, insert.body)
  const bytes = Buffer.concat(insert.body)
  const what = `insert ${insert.table} ${describeRows(rows)}`
  return new Promise((resolve) => {
    if (!process.alive) return
    let answered = false
    const answer = (given: InsertAnswer): void => {
      if (answered) return
      answered = true
      if (new Set(rows.map((row) => row.partition)).size > 1) faults.count(`shared insert: ${given.kind}`)
      world.tell(
        process.name,
        () => `${what} → ${given.kind === 'stored' ? 'stored' : `${given.kind}: ${given.reason}`}`,
      )
      process.deliver(() => {
        // The insert may still be under way, outside of this memory.
        if (!bytes.equals(Buffer.concat(insert.body))) world.fail(`the memory of ${what} was used before its answer`)
        resolve(given)
      })
    }
    const unclear = (reason: string): void => answer({ kind: 'unclear', reason })
    world.tell(process.name, () => `${what} sent, deadline ${insert.deadline - store.now()} ms from now`)
    kernel.after(world.timing.insertTimeoutMs, () => unclear('no answer in time'))
    if (faults.strikes('insert: request lost')) {
      kernel.after(random.between(0.1, 200), () => unclear('connection refused'))
      return
    }
    const cut = faults.strikes('insert: connection cut, arrives all the same')
    if (cut) kernel.after(random.between(0.1, 50), () => unclear('connection reset'))
    const dropped = cut || faults.strikes('insert: answer dropped after landing')
    const heard = (given: InsertAnswer): void => {
      if (!dropped || given.kind === 'refused' || given.kind === 'bad-data')
        kernel.after(random.between(0.1, 3), () => answer(given))
    }
    const stalls = faults.strikes('insert: stalls on its way')
    const onTheWay = stalls ? random.between(0, 4 * world.timing.leaseMs) : random.between(0.1, 4)
    kernel.after(onTheWay, () => arrive({ world, store, process }, { insert, rows, heard }))
  })
}

interface Arrival {
  readonly insert: Insert
  readonly rows: readonly Row[]
  readonly heard: (answer: InsertAnswer) => void
}

// A proxy that repeats a request returns the answer to the second copy, or to a first one that was refused. Not modelled: a repeat across a crash of the server,
// which may have kept the token of an insert and lost its rows. No layer may repeat a POST there.
function arrive({ world, store }: Omit<StoreParts, 'groupId'>, { insert, rows, heard }: Arrival): void {
  const { kernel, random, faults } = world
  const { life } = store
  const again = (hears: Arrival['heard']): void => {
    kernel.after(random.between(0.1, 1.5 * world.timing.leaseMs), () => {
      if (store.life === life) store.receive(insert, rows, hears)
    })
  }
  const twice = faults.strikes('insert: sent twice by a proxy')
  store.receive(insert, rows, (given) => {
    if (twice) return
    if (given.kind === 'refused' && faults.strikes('insert: refused, and a proxy keeps a copy')) again(() => undefined)
    heard(given)
  })
  if (twice) again(heard)
}

function keyOf({ logId, partition }: LogPartition): string {
  return `${logId.toString('hex')}/${partition}`
}

/** Offsets with a row. */
function offsetsOf(store: ModelStore, logPartition: LogPartition): Set<number> {
  return new Set([...store.rowsOf(logPartition).keys(), ...store.forgery.offsets(keyOf(logPartition))])
}

function toStoredRow({ kind = 'event', runId, runSeq, eventId, ...row }: Row): StoredRow {
  const { offset, logTimeMs, retentionClass, reason } = row
  const [run, seq] = runId === undefined ? [null, null] : [runId, runSeq]
  return { offset, kind, runId: run, runSeq: seq, eventId: eventId ?? null, logTimeMs, retentionClass, reason }
}

function rangesOf(keyed: Pick<ReadonlyMap<number, unknown>, 'keys'>, from: number): OffsetRange[] {
  const ranges: { first: number; last: number }[] = []
  const offsets = [...keyed.keys()].filter((offset) => offset >= from).toSorted((a, b) => a - b)
  for (const offset of offsets) {
    const open = ranges.at(-1)
    if (open?.last === offset - 1) open.last = offset
    else ranges.push({ first: offset, last: offset })
  }
  return ranges
}

function deadInARow(
  store: ModelStore,
  logPartition: LogPartition,
  { below, limit }: { below: number; limit: number },
): number {
  const rows = store.rowsOf(logPartition)
  let dead = 0
  for (let offset = below - 1; offset >= 0 && dead < limit; offset--) {
    const kind = rows.get(offset)?.kind
    if (kind === 'dead') dead++
    else if (kind !== 'hole') break
  }
  return dead
}

function highestSeqs(store: ModelStore, logPartition: LogPartition, runIds: readonly string[]): Map<string, number> {
  const highest = new Map<string, number>()
  for (const row of store.rowsOf(logPartition).values()) {
    if (row.table === 'audit_skipped' || row.runId === undefined || !runIds.includes(row.runId)) continue
    highest.set(row.runId, Math.max(row.runSeq, highest.get(row.runId) ?? -1))
  }
  return highest
}

function unreachable(): Error {
  return new AuditUnavailableError('STORE_UNAVAILABLE', 'the store is down')
}
