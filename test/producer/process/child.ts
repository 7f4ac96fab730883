/** Commands that the tests run in separate processes: they end the process, fill its disk, or stop its delivery thread. */
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { registerHooks, syncBuiltinESMExports } from 'node:module'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import workerThreads, { type Worker } from 'node:worker_threads'
import {
  createAuditTrail,
  type DeliveryMessage,
  type GuardOptions,
  type ProblemMessage,
  type SessionRef,
  type ToolCall,
} from '@agent-audit/producer'
import { type AdoptedSpool, adoptSpools } from '@agent-audit/spool'
import { printLine } from '../../support/print-line.ts'

const [command = '', dataDir = '', how = ''] = process.argv.slice(2)
/** No broker listens there: recorded events stay in the spool. */
const UNREACHABLE = ['127.0.0.1:1']

/** A trail whose records stay in its spool. */
function openTrail(topic?: string): ReturnType<typeof createAuditTrail> {
  return createAuditTrail({
    agentId: 'child',
    brokers: UNREACHABLE,
    topic,
    spoolDir: `${dataDir}/spool`,
    onProblem: () => {},
  })
}

/** Worker threads that are started from now on. */
function collectThreads(): Worker[] {
  const threads: Worker[] = []
  const Original = workerThreads.Worker
  workerThreads.Worker = class extends Original {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args)
      threads.push(this)
    }
  }
  syncBuiltinESMExports()
  return threads
}

function printProblem({ code, message }: Error & { code: string }): void {
  printLine(`${code} ${message}`)
}

/** `yes`, or the code of the rejection. */
function outcomeOf(wait: Promise<unknown>): Promise<string> {
  return wait.then(
    () => 'yes',
    ({ code }: { code: string }) => code,
  )
}

const SIGNALLED = new Set(['other-listener', 'once-listener', 'second-copy'])

/** A process may hold the package twice: the application's copy, and the copy of one of its dependencies. */
async function openSecondCopy(): Promise<void> {
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context)
      const inCopy = context.parentURL?.endsWith('?second') === true && found.url.includes('/producer/src/')
      return inCopy ? { ...found, url: `${found.url}?second` } : found
    },
  })
  const copy = (await import(`${import.meta.resolve('@agent-audit/producer')}?second`)) as {
    createAuditTrail: typeof createAuditTrail
  }
  if (copy.createAuditTrail === createAuditTrail) throw new Error('not a copy')
  copy.createAuditTrail({ agentId: 'copy', dataDir: `${dataDir}/copy` })
}

const commands: Record<string, () => void | Promise<void>> = {
  /** Records without end in five sessions, into the topic that `how` names; prints each event_id once the event is stored. */
  'record-forever': async () => {
    const trail = openTrail(how === '' ? undefined : how)
    const sessions = Array.from({ length: 5 }, (_, index) => trail.startSession({ session_id: `forever-${index}` }))
    for (let number = 0; ; number++) {
      const burst = Array.from({ length: 20 }, (_, index) => {
        const session = sessions[index % sessions.length] ?? trail.startSession()
        return session.decision({ reasoning: `${number}.${index}` })
      })
      for (const receipt of burst) {
        await receipt.stored
        printLine(receipt.event_id)
      }
    }
  },
  /** Records, and ends as `how` says, without a turn of the event loop in between. */
  'record-and-end': async () => {
    // The program's own listener works on after the signal, as a server does.
    if (how === 'once-listener') process.once('SIGTERM', () => setTimeout(() => process.exit(7), 100))
    if (how === 'second-copy') await openSecondCopy()
    const session = openTrail().startSession({ session_id: 'ending' })
    if (how === 'other-listener') process.on('SIGTERM', () => process.exit(7))
    for (let number = 0; number < 700; number++) session.decision({ reasoning: `decision ${number}` })
    printLine('recorded')
    if (how === 'exit') process.exit(3)
    if (how === 'throw') throw new Error('uncaught')
    if (how === 'SIGTERM' || how === 'SIGINT') process.kill(process.pid, how)
    if (SIGNALLED.has(how)) process.kill(process.pid, 'SIGTERM')
    if (SIGNALLED.has(how) || how.startsWith('SIG')) setInterval(() => {}, 60_000)
  },
  /**
   * Runs on a small disk that another file fills, and without a log at first. Records until events are refused, makes the
   * log available, frees the disk, and waits until all other events are in the log. Prints the problems, and the number
   * of events in the log.
   */
  'fill-disk': async () => {
    const [disk, filler] = [how, `${how}/filler`]
    const problems = new Set<string>()
    writeFileSync(filler, Buffer.alloc(2_500_000))
    // A file at the path of the log's directory: the log cannot be opened.
    const logDir = `${dataDir}/log`
    writeFileSync(logDir, '')
    const trail = createAuditTrail({
      agentId: 'child',
      dataDir: logDir,
      spoolDir: `${disk}/spool`,
      maxBufferBytes: 2 ** 20,
      onProblem: ({ code, message }) => {
        if (code === 'SPOOL_UNAVAILABLE') problems.add(`${code}: ${message.replace(/.*: /, '')}`)
      },
    })
    const session = trail.startSession({ session_id: 'filling' })
    const kept = []
    while (trail.stats().refused === 0) {
      const receipt = session.decision({ reasoning: 'x'.repeat(10_000) })
      if (trail.stats().refused === 0) kept.push(receipt)
      // One by one until the disk is full, so that memory is not full before the disk.
      const stored = receipt.stored.catch(() => {})
      while (problems.size === 0 && !(await Promise.race([stored.then(() => true), nextTurn(false)])));
    }
    printLine([...problems].join())
    rmSync(logDir)
    while (!trail.stats().connected) await sleep(20)
    rmSync(filler)
    await Promise.all(kept.map(({ acked }) => acked))
    printLine(`sent ${kept.length}`)
    await trail.close()
  },
  /**
   * The spool fills a small disk with more events than delivery keeps in memory, at the end in small commits; then the log
   * becomes available. Prints the number of events once all of them are acknowledged: the spool that filled the disk has
   * freed it by itself.
   */
  'outgrow-disk': async () => {
    const logDir = `${dataDir}/log`
    writeFileSync(logDir, '')
    const full = Promise.withResolvers<void>()
    const onProblem = ({ code }: { code: string }): void => {
      if (code === 'SPOOL_UNAVAILABLE') full.resolve()
    }
    const trail = createAuditTrail({ agentId: 'child', dataDir: logDir, spoolDir: `${how}/spool`, onProblem })
    const session = trail.startSession({ session_id: 'outgrowing' })
    const kept = []
    const isFull = full.promise.then(() => true)
    for (let filled = false; !filled;) {
      const { bavail, bsize } = statfsSync(how)
      const receipt = session.decision({ reasoning: 'x'.repeat(bavail * bsize > 500_000 ? 100_000 : 100) })
      kept.push(receipt)
      filled = await Promise.race([receipt.stored.then(() => false), isFull])
    }
    rmSync(logDir)
    await Promise.all(kept.map(({ acked }) => acked))
    await trail.close()
    printLine(`kept ${kept.length}`)
  },
  /**
   * Terminates each delivery thread while the spool holds events. Prints the problems, the outcomes of the next event and of
   * flush, the number of events that a new trail in the same process adopts, and what the two trails have published.
   */
  'lose-delivery': async () => {
    const threads = collectThreads()
    const problems: string[] = []
    const onProblem = ({ code, message }: Error & { code: string }): void => {
      if (code !== 'BROKER_UNAVAILABLE') problems.push(`${code}: ${message.split('\n')[0]}`)
    }
    const options = { agentId: 'child', spoolDir: `${dataDir}/spool` }
    const published = { states: [] as string[], codes: [] as string[] }
    subscribe('agent-audit:delivery', (message) => void published.states.push((message as DeliveryMessage).state))
    subscribe('agent-audit:problem', (message) => {
      const { code } = (message as ProblemMessage).error
      if (code !== 'BROKER_UNAVAILABLE') published.codes.push(code)
    })
    const trail = createAuditTrail({ ...options, brokers: UNREACHABLE, onProblem })
    const session = trail.startSession({ session_id: 'losing' })
    await session.decision({ reasoning: 'stored before' }).stored
    for (let lost = 0; lost < 4; lost++) {
      while (threads.length === lost) await sleep(20)
      await threads[lost]?.terminate()
      if (lost === 0) await session.decision({ reasoning: 'stored between' }).stored
    }
    for (const problem of problems) printLine(problem)
    printLine(await session.decision({ reasoning: 'after' }).stored.then(String, ({ code }: { code: string }) => code))
    printLine(JSON.stringify(await trail.flush()))
    await trail.close()
    const next = createAuditTrail({ ...options, dataDir })
    while (next.stats().adopted === 0) await sleep(20)
    printLine(`adopted ${next.stats().adopted}`)
    await next.close()
    printLine(JSON.stringify(published))
  },
  /** Terminates the delivery thread. In the pause before the next one it records, and ends as `how` says. */
  'end-in-restart': async () => {
    const threads = collectThreads()
    const onProblem = ({ code }: { code: string }): void => {
      if (code === 'DELIVERY_RESTARTED') void end()
    }
    const trail = createAuditTrail({ agentId: 'child', dataDir, onProblem })
    const session = trail.startSession({ session_id: 'ending' })
    const end = async (): Promise<void> => {
      const receipts = Array.from({ length: 5 }, (_, number) =>
        session.decision({ reasoning: `in the pause ${number}` }),
      )
      if (how === 'exit') process.exit(0)
      const { pending } = await trail.close(how === 'close at once' ? { timeoutMs: 0 } : {})
      await Promise.all(receipts.map(({ stored }) => stored))
      printLine(`pending ${pending === 0 ? 'none' : 'some'}`)
    }
    await session.decision({ reasoning: 'stored before' }).stored
    await threads[0]?.terminate()
  },
  /**
   * Fills a part of a spool of 1 MiB, terminates the delivery thread, and records on until the trail refuses. Prints the bytes
   * on disk.
   */
  'fill-after-restart': async () => {
    const threads = collectThreads()
    const spool = { spoolDir: `${dataDir}/spool`, spoolMaxBytes: 2 ** 20, onFull: 'refuse' } as const
    const trail = createAuditTrail({ agentId: 'child', brokers: UNREACHABLE, ...spool, onProblem: () => {} })
    const session = trail.startSession({ session_id: 'filling' })
    const record = (): Promise<void> => session.decision({ reasoning: 'x'.repeat(100_000) }).stored
    for (let number = 0; number < 6; number++) await record()
    await threads[0]?.terminate()
    while (
      await record().then(
        () => true,
        ({ code }: { code: string }) => code !== 'SPOOL_FULL',
      )
    );
    printLine(`${trail.stats().spoolBytes}`)
    await trail.close({ timeoutMs: 0 })
  },
  /**
   * Delivery fails as fail-delivery.ts arranges. Records one event a turn, each a chunk of its own, until delivery has failed as
   * often as `how` says, and some more. Prints the outcomes of each event, and the problems in between. With `hold`, another owner
   * adopts the spools that the first failure has left, and gives them back after a while, unsent.
   */
  'fail-delivery': async () => {
    const [failures, durability, hold] = how.split(' ') as [string, 'disk' | 'memory' | undefined, 'hold' | undefined]
    const held: AdoptedSpool[] = []
    const onProblem = (problem: Error & { code: string }): void => {
      printProblem(problem)
      if (hold !== undefined) held.push(...adoptSpools({ directory: `${dataDir}/spool/audit.events` }).spools)
    }
    const trail = createAuditTrail({ agentId: 'child', dataDir, handleExit: false, durability, onProblem })
    const session = trail.startSession({ session_id: 'failing' })
    const outcomes: Promise<void>[] = []
    const record = async (): Promise<void> => {
      const { event_id, stored, acked } = session.decision({ reasoning: 'x'.repeat(1000) })
      const outcome = Promise.all([outcomeOf(stored), outcomeOf(acked)])
      outcomes.push(outcome.then((said) => printLine(`${event_id} ${said.join(' ')}`)))
      await sleep(2)
    }
    while (trail.stats().restarts < Number(failures)) await record()
    for (let number = 0; number < 20; number++) await record()
    if (held.length > 0) await sleep(500)
    for (const spool of held) spool.close()
    await Promise.all(outcomes)
    printLine(JSON.stringify(await trail.close()))
  },
  /** Records for ever, each event after the one before it is stored. */
  'record-until-killed': async () => {
    const durability = how === 'memory' ? 'memory' : undefined
    const trail = createAuditTrail({ agentId: 'child', dataDir, durability, handleExit: false, onProblem: () => {} })
    const session = trail.startSession({ session_id: 'killed' })
    for (let count = 0; ; count++) {
      const receipt = session.decision({ reasoning: `${count}` })
      await (durability === 'memory' ? receipt.acked : receipt.stored)
    }
  },
  /** Records an event, is idle until SIGUSR2, records another one, and ends. */
  idle: async () => {
    const trail = createAuditTrail({ agentId: 'child', dataDir, handleExit: false })
    const session = trail.startSession()
    await session.decision({ reasoning: 'before' }).acked
    const alive = setInterval(() => {}, 1000)
    printLine('idle')
    await once(process, 'SIGUSR2')
    clearInterval(alive)
    session.decision({ reasoning: 'after' })
    await trail.close()
  },
  /**
   * Records in rounds, each with larger records than the one before, and waits until each round is acknowledged, so that
   * memory is reused. `how` is a broker and a topic. Prints the number of recorded events.
   */
  'record-in-rounds': async () => {
    const [broker = '', topic] = how.split(' ')
    const destination = { brokers: [broker], topic, spoolDir: `${dataDir}/spool` }
    const trail = createAuditTrail({ agentId: 'child', ...destination, handleExit: false, onProblem: () => {} })
    const session = trail.startSession({ session_id: 'rounds' })
    for (let round = 0; round < 40; round++) {
      const filler = 'x'.repeat(8000 + 111 * round)
      const receipts = Array.from({ length: 40 }, () => session.decision({ reasoning: `round ${round} ${filler}` }))
      await receipts.at(-1)?.acked
    }
    await trail.close()
    printLine(`recorded ${trail.stats().recorded}`)
  },
  /** Beside a spool that cannot be read, as unreadable-spool.ts has it, until its own event is acknowledged. */
  'beside-unreadable': async () => {
    const problems: string[] = []
    const onProblem = ({ message }: Error): void => void problems.push(message)
    const trail = createAuditTrail({ agentId: 'child', dataDir, handleExit: false, onProblem })
    await trail.startSession({ session_id: 'own' }).decision({ reasoning: 'own' }).acked
    while (problems.length === 0) await sleep(20)
    printLine(`${problems[0]}`)
    printLine(`adopted ${trail.stats().adopted}`)
    rmSync(`${dataDir}/spool/audit.events/unreadable`)
    while (trail.stats().spoolBytes > 0) await sleep(20)
    printLine(`adopted ${trail.stats().adopted}`)
    await trail.close()
  },
  /** The delivery thread takes longer to start than close waits. Closes the trail, and ends the process at once. */
  'slow-start': async () => {
    const Original = workerThreads.Worker
    const rest = 'data:text/javascript,Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6500)'
    workerThreads.Worker = class extends Original {
      constructor(...[file, options]: ConstructorParameters<typeof Worker>) {
        super(file, { ...options, execArgv: [...process.execArgv, '--import', rest] })
      }
    }
    syncBuiltinESMExports()
    const trail = openTrail()
    trail.startSession({ session_id: 'starting' }).decision({ reasoning: 'early' })
    await trail.close({ timeoutMs: 0 })
    process.exit(0)
  },
  /** Makes a trail on a disk that cannot be written, and prints the error. */
  'read-only-disk': () => {
    try {
      createAuditTrail({ agentId: 'child', brokers: UNREACHABLE, spoolDir: `${how}/spool` })
    } catch (error) {
      printLine(`${(error as { code: string }).code}: ${(error as Error).message}`)
    }
  },
  /** Records into the embedded log, never closes the trail, and runs out of work. */
  'run-out': () => {
    const trail = createAuditTrail({ agentId: 'child', dataDir })
    trail.startSession({ session_id: 'running-out' }).decision({ reasoning: 'the last one' })
  },
  /** Events are refused. The program ignores their receipts, or reads the promises and drops them. */
  'drop-receipts': async () => {
    const options = { agentId: 'child', brokers: UNREACHABLE, handleExit: false, onProblem: () => {} }
    const trail = createAuditTrail({ ...options, durability: 'broker', maxBufferBytes: 2 ** 20 })
    const session = trail.startSession()
    for (let number = 0; number < 60; number++) {
      const receipt = session.decision({ reasoning: 'x'.repeat(60_000) })
      if (how === 'read') void [receipt.stored, receipt.acked]
    }
    const { refused } = await trail.close({ timeoutMs: 0 })
    // A turn of the event loop, in which Node would have ended the process for an unhandled rejection.
    setImmediate(() => {
      printLine(refused > 0 ? 'refused, and alive' : 'nothing was refused')
      process.exit(0)
    })
  },
  /** Runs the guarded call that `how` gives as JSON, in another process's session; prints the returned value or the error code. */
  'run-approved': async () => {
    const { ref, call, options, retentionClass } = JSON.parse(how) as {
      ref: SessionRef
      call: ToolCall
      options: GuardOptions<string>
      retentionClass?: string
    }
    const trail = createAuditTrail({ agentId: 'child', dataDir, guardTimeoutMs: 60_000, retentionClass })
    const outcome = trail.resumeSession(ref).guard(call, () => 'paid', options)
    printLine(await outcome.catch(({ code }: { code: string }) => code))
    await trail.close()
  },
  /** Waits for a receipt with nothing else to keep the process alive. */
  'await-receipt': async () => {
    const trail = createAuditTrail({ agentId: 'child', dataDir, handleExit: false })
    const receipt = trail.startSession({}).decision({ reasoning: 'waited for' })
    await receipt.acked
    printLine('acknowledged')
  },
}

await commands[command]?.()
