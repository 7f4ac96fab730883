import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { adoptSpools, openRunSpool } from '@agent-audit/spool'
import { expect, it, vi } from 'vitest'
import {
  adoptAll,
  ALL,
  chunkOf,
  leaveSpool,
  partitionsOf,
  plain,
  runIdOf,
  runSql,
  startChild,
  TOPIC,
  unassigned,
} from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

it('finds every chunk that a killed process was told is committed', async () => {
  const directory = makeTempDirectory()
  const rounds = Array.from({ length: 6 }, async (_, round) => {
    const child = startChild(['append-forever', directory, round])
    await child.printed(10 + round * 37)
    await child.kill('SIGKILL')
    return child.lines.map(Number)
  })
  const acknowledged = await Promise.all(rounds)
  const { spools, damaged } = adoptSpools({ directory })
  expect(damaged).toEqual([])
  expect(spools.length).toBe(rounds.length)
  for (const spool of spools) {
    const chunks = spool.read(0, ALL)
    const told = acknowledged[Number.parseInt(spool.runId, 16)] ?? []
    // One more may be committed than the process lived to print.
    expect([told.length, told.length + 1]).toContain(chunks.length)
    for (const [index, { id, chunk }] of chunks.entries()) {
      expect(id).toBe(index + 1)
      expect(plain(chunk)).toEqual(plain(chunkOf(index * 20, 20)))
    }
    spool.trim(ALL)
    spool.close()
  }
  expect(readdirSync(directory)).toEqual([])
})

it('after a kill among trims, holds every chunk that was not yet to be trimmed, without a gap', async () => {
  const directory = makeTempDirectory()
  const child = startChild(['append-and-trim', directory, 1])
  await child.printed(600)
  await child.kill('SIGKILL')
  const told = child.lines.map(Number)
  const lastAppended = Math.max(...told)
  const lastTrim = -Math.min(...told)
  const [spool] = adoptSpools({ directory }).spools
  const ids = spool?.read(0, ALL).map(({ id }) => id) ?? []
  expect(ids[0]).toBeLessThanOrEqual(lastTrim + 1)
  expect(ids.at(-1)).toBeGreaterThanOrEqual(lastAppended)
  expect(ids).toEqual(Array.from(ids, (_, index) => (ids[0] ?? 0) + index))
  spool?.close()
})

it('leaves a live owner alone, a stopped one too, and adopts its spool once it is dead', async () => {
  const directory = makeTempDirectory()
  const owner = startChild(['hold', directory, 1])
  await owner.printed(1)
  const nothing = { runs: {}, damaged: 0, skipped: 0 }
  expect(adoptAll(directory)).toEqual(nothing)
  await owner.kill('SIGSTOP')
  await vi.waitFor(() => expect(stateOf(owner.pid)).toBe('T'))
  expect(adoptAll(directory)).toEqual(nothing)
  await owner.kill('SIGKILL')
  expect(adoptAll(directory).runs).toEqual({ [runIdOf(1)]: 1 })
})

/** State letter of a process on Linux. */
function stateOf(pid: number | undefined): string | undefined {
  return / ([A-Z]) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, ''))?.[1]
}

it('leaves a live owner in the same process alone, on this thread and on another, and its lock stays', async () => {
  const directory = makeTempDirectory()
  const spool = openRunSpool({ directory, runId: runIdOf(1), topic: TOPIC, maxBytes: ALL, fsync: false })
  spool.append(chunkOf(0, 1))
  expect(adoptAll(directory).runs).toEqual({})
  const code = `import { adoptSpools } from '@agent-audit/spool'
    import { parentPort, workerData } from 'node:worker_threads'
    parentPort.postMessage(adoptSpools({ directory: workerData }).spools.length)`
  const worker = new Worker(
    new URL(
      `data:text/javascript,${encodeURIComponent(code.replace('@agent-audit/spool', import.meta.resolve('@agent-audit/spool')))}`,
    ),
    {
      workerData: directory,
      execArgv: ['--conditions=agent-audit-source'],
    },
  )
  const adopted = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  expect(adopted).toBe(0)
  await worker.terminate()
  const other = startChild(['adopt-many', directory, 0, 1])
  expect(await other.exited()).toMatchObject({ code: 0 })
  expect(other.lines, 'after those attempts another process still finds it locked').toEqual([])
  spool.close()
})

it('adopts a spool once: the adopter that holds it keeps other adopters out, and after it closes the spool can be adopted again', async () => {
  const directory = makeTempDirectory()
  leaveSpool(directory, 1)
  const [spool] = adoptSpools({ directory }).spools
  expect(adoptAll(directory).runs).toEqual({})
  const other = startChild(['adopt-many', directory, 0, 1])
  expect(await other.exited()).toMatchObject({ code: 0 })
  expect(other.lines).toEqual([])
  spool?.close()
  expect(adoptAll(directory).runs).toEqual({ [runIdOf(1)]: 20 })
})

it('goes on where the last adopter stopped', () => {
  const directory = makeTempDirectory()
  leaveSpool(directory, 1)
  const [first] = adoptSpools({ directory }).spools
  first?.trim(7)
  first?.close()
  const [second] = adoptSpools({ directory }).spools
  expect(second?.read(0, 1).map(({ id }) => id)).toEqual([8])
  expect(second?.stats()).toMatchObject({ chunks: 13, records: 260 })
  second?.close()
})

it('assigns records whose owner never knew the number of partitions, at each adopter by the same number', () => {
  const directory = makeTempDirectory()
  const spool = openRunSpool({ directory, runId: runIdOf(1), topic: TOPIC, maxBytes: ALL, fsync: false })
  spool.append(unassigned(chunkOf(0, 20)))
  spool.close()
  for (const count of [4, 9]) {
    const [adopted] = adoptSpools({ directory }).spools
    adopted?.bind({ cluster: 'one', partitions: count })
    expect(adopted?.read(0, ALL).map(({ chunk }) => [...chunk.partitions])).toEqual([partitionsOf(chunkOf(0, 20), 4)])
    adopted?.close()
  }
})

it('says the topic that its owner gave, and reads no chunk once the topic is damaged', () => {
  const directory = makeTempDirectory()
  for (const [number, topic] of ['audit.events', 'audit.seals'].entries()) {
    const spool = openRunSpool({ directory, runId: runIdOf(number), topic, maxBytes: ALL, fsync: false })
    spool.append(chunkOf(0, 1))
    spool.close()
  }
  const { spools } = adoptSpools({ directory })
  expect(new Map(spools.map(({ runId, topic }) => [runId, topic]))).toEqual(
    new Map([
      [runIdOf(0), 'audit.events'],
      [runIdOf(1), 'audit.seals'],
    ]),
  )
  for (const spool of spools) spool.close()
  for (const { file } of spools) runSql(file, "UPDATE run SET topic = 'audit.event'")
  for (const spool of adoptSpools({ directory }).spools) {
    expect(() => spool.read(0, ALL)).toThrow(expect.objectContaining({ code: 'SPOOL_CORRUPT' }))
    spool.close()
  }
  expect.assertions(3)
})

it('leaves a file of an earlier format, which does not say its topic, where it is', () => {
  const directory = makeTempDirectory()
  const file = leaveSpool(directory, 1)
  runSql(file, 'ALTER TABLE run DROP COLUMN topic; PRAGMA user_version = 2')
  expect(adoptSpools({ directory })).toEqual({
    spools: [],
    damaged: [],
    skipped: [{ file, runId: runIdOf(1), reason: expect.stringContaining('earlier release') }],
    busy: [],
  })
  expect(existsSync(file)).toBe(true)
})

it('gives the oldest run first, leaves out the excepted one, and other files', () => {
  const directory = makeTempDirectory()
  const order = [5, 2, 9]
  const clock = vi.spyOn(Date, 'now')
  for (const [index, number] of order.entries()) {
    clock.mockReturnValue(1_000 * index)
    leaveSpool(directory, number, 1)
  }
  clock.mockRestore()
  writeFileSync(join(directory, 'notes.txt'), 'not a spool')
  const { spools } = adoptSpools({ directory, except: runIdOf(2) })
  expect(spools.map((spool) => spool.runId)).toEqual([runIdOf(5), runIdOf(9)])
  for (const spool of spools) spool.close()
})

it('removes the file of a process that died before its first append', () => {
  const directory = makeTempDirectory()
  writeFileSync(join(directory, `run-${runIdOf(1)}.spool`), '')
  expect(adoptSpools({ directory })).toEqual({ spools: [], damaged: [], skipped: [], busy: [] })
  expect(readdirSync(directory)).toEqual([])
  expect(adoptSpools({ directory: join(directory, 'missing') }).spools).toEqual([])
})

it('loses and repeats nothing when runs start, end and adopt at once', async () => {
  const directory = makeTempDirectory()
  const openers = [1000, 2000].map((number) => startChild(['open-many', directory, number, 100]))
  const adopters = [1, 2].map(() => startChild(['adopt-many', directory, 0, 400]))
  for (const child of [...openers, ...adopters]) expect(await child.exited()).toMatchObject({ code: 0 })
  const last = startChild(['adopt-many', directory, 0, 1])
  await last.exited()
  const opened = openers.flatMap((child) => child.lines)
  const drained = [...adopters, last].flatMap((child) => child.lines)
  expect(drained.toSorted()).toEqual(opened.toSorted())
  expect(readdirSync(directory)).toEqual([])
})
