/** session_seq counts the events of a session without a gap, however often the run starts or resumes the session. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail, type Row, sessionRows } from '../support.ts'

/** The session_seq of the rows of session s1, in the order of run_seq. */
const countOf = (rows: readonly Row[]): unknown[] =>
  rows.filter((row) => row.session_id === 's1').map((row) => row.session_seq)

describe('session_seq', () => {
  /** More ids than the recent counters are kept for. */
  const OTHERS = 15_001

  it('goes on when a session is started again: while it is open, and after its end', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const first = trail.startSession({ session_id: 's1' })
    const second = trail.startSession({ session_id: 's1' })
    first.decision({ reasoning: 'one' })
    second.end()
    first.end()
    await trail.withSession({ session_id: 's1' }, () => undefined)
    trail.resumeSession(first.ref).end()
    await trail.close()
    expect(countOf(sessionRows(dataDir))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('goes on under an id that the trail has made, read before the end or after it', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const read = trail.startSession()
    const early = read.session_id
    read.end()
    const unread = trail.startSession()
    unread.end()
    const late = unread.session_id
    for (const session_id of [early, late]) trail.startSession({ session_id }).end()
    const given = trail.startSession()
    const { ref } = given
    given.end()
    trail.resumeSession(ref).end()
    await trail.close()
    const rows = sessionRows(dataDir)
    for (const id of [early, late, ref.session_id]) {
      expect(rows.filter(({ session_id }) => session_id === id).map(({ session_seq }) => session_seq)).toEqual([
        0, 1, 2, 3,
      ])
    }
  })

  it('goes on in an open session, however many others began since', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const first = trail.startSession({ session_id: 's1' })
    for (let number = 0; number < OTHERS; number++) trail.startSession()
    trail.startSession({ session_id: 's1' }).end()
    first.end()
    await trail.close()
    expect(countOf(sessionRows(dataDir))).toEqual([0, 1, 2, 3])
  })

  it('goes on after the end of an old session', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const endLater = trail.startSession({ session_id: 's1' })
    for (let number = 0; number < OTHERS; number++) trail.startSession()
    endLater.end()
    trail.startSession({ session_id: 's1' })
    await trail.close()
    expect(countOf(sessionRows(dataDir))).toEqual([0, 1, 2])
  })

  it('takes no memory for sessions that are dropped without an end', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    // No broker listens there: most events are refused, so that only what sessions leave behind stays in memory.
    const trail = openTrail({
      brokers: ['127.0.0.1:1'],
      durability: 'memory',
      maxBufferBytes: 2 ** 20,
      onProblem: () => {},
    })
    const drop = async (count: number): Promise<number> => {
      for (let number = 0; number < count; number++) {
        trail.startSession()
        if (number % 1000 === 0) await nextTurn()
      }
      // The callbacks of a FinalizationRegistry run in turns of their own.
      for (let round = 0; round < 3; round++) {
        collect()
        await nextTurn()
      }
      return process.memoryUsage().heapUsed
    }
    const before = await drop(15_000)
    expect((await drop(40_000)) - before).toBeLessThan(4 * 2 ** 20)
  })
})
