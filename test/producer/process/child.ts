/** Programs that the tests run in processes of their own, to see how a trail meets the end of its process. */
import { rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs'
import { registerHooks, syncBuiltinESMExports } from 'node:module'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import workerThreads, { type Worker } from 'node:worker_threads'
import { createAuditTrail, type GuardOptions, type SessionRef, type ToolCall } from '@agent-audit/producer'

/** Written before the next step begins: what was printed has happened, whenever the process ends. */
function print(line: string): void {
  // The pipe may be full while a busy machine keeps the reader waiting.
  for (;;) {
    try {
      writeSync(1, `${line}\n`)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}

const [command = '', dataDir = '', how = ''] = process.argv.slice(2)
/** Nothing listens there: what is recorded can only be kept. */
const NOWHERE = ['127.0.0.1:1']

/** A trail whose records stay in its spool. */
function openTrail(topic?: string): ReturnType<typeof createAuditTrail> {
  return createAuditTrail({
    agentId: 'child',
    brokers: NOWHERE,
    topic,
    spoolDir: `${dataDir}/spool`,
    onProblem: () => {},
  })
}

const SIGNALLED = new Set(['other-listener', 'once-listener', 'second-copy'])

/** A process may hold the package twice: its own, and the one of something it uses. */
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
  /** Records for ever in sessions side by side, into the topic that `how` names; prints each event_id once it is stored. */
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
        print(receipt.event_id)
      }
    }
  },
  /** Records, and ends as `how` says, without a turn of the event loop in between. */
  'record-and-end': async () => {
    // A listener of the program's own that works on after the signal, as servers do.
    if (how === 'once-listener') process.once('SIGTERM', () => setTimeout(() => process.exit(7), 100))
    if (how === 'second-copy') await openSecondCopy()
    const session = openTrail().startSession({ session_id: 'ending' })
    if (how === 'other-listener') process.on('SIGTERM', () => process.exit(7))
    for (let number = 0; number < 700; number++) session.decision({ reasoning: `decision ${number}` })
    print('recorded')
    if (how === 'exit') process.exit(3)
    if (how === 'throw') throw new Error('uncaught')
    if (how === 'SIGTERM' || how === 'SIGINT') process.kill(process.pid, how)
    if (SIGNALLED.has(how)) process.kill(process.pid, 'SIGTERM')
    if (SIGNALLED.has(how) || how.startsWith('SIG')) setInterval(() => {}, 60_000)
  },
  /**
   * On a small disk that another file fills, before there is a log: records until events are refused, lets the log come,
   * then makes room, and waits until all others are there. Prints the problems, and how many events are there.
   */
  'fill-disk': async () => {
    const [disk, filler] = [how, `${how}/filler`]
    const problems = new Set<string>()
    writeFileSync(filler, Buffer.alloc(2_500_000))
    // A file where the log's directory is to be.
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
      // One by one until the disk is full: memory is not to be full before it.
      const stored = receipt.stored.catch(() => {})
      while (problems.size === 0 && !(await Promise.race([stored.then(() => true), nextTurn(false)])));
    }
    print([...problems].join())
    rmSync(logDir)
    while (!trail.stats().connected) await sleep(20)
    rmSync(filler)
    await Promise.all(kept.map(({ acked }) => acked))
    print(`there ${kept.length}`)
    await trail.close()
  },
  /**
   * Its spool fills a small disk with more than is kept in memory, in the end in small commits; then the log comes. Prints
   * how many events are kept once all of them have arrived: the spool that fills the disk has made room by itself.
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
    print(`kept ${kept.length}`)
  },
  /**
   * Its delivery thread is ended while it has something on disk. Prints the problem, what becomes of the next event and
   * of flush, and how many events a new trail in the same process takes over.
   */
  'lose-delivery': async () => {
    const threads: Worker[] = []
    const Original = workerThreads.Worker
    workerThreads.Worker = class extends Original {
      constructor(...args: ConstructorParameters<typeof Worker>) {
        super(...args)
        threads.push(this)
      }
    }
    syncBuiltinESMExports()
    const problem = Promise.withResolvers<string>()
    const onProblem = ({ code, message }: Error & { code: string }): void => {
      if (code === 'SPOOL_UNAVAILABLE') problem.resolve(`${code}: ${message}`)
    }
    const place = { agentId: 'child', spoolDir: `${dataDir}/spool` }
    const trail = createAuditTrail({ ...place, brokers: NOWHERE, onProblem })
    const session = trail.startSession({ session_id: 'losing' })
    await session.decision({ reasoning: 'stored before' }).stored
    await threads[0]?.terminate()
    print(await problem.promise)
    print(await session.decision({ reasoning: 'after' }).stored.then(String, ({ code }: { code: string }) => code))
    print(JSON.stringify(await trail.flush()))
    await trail.close()
    const next = createAuditTrail({ ...place, dataDir })
    while (next.stats().adopted === 0) await sleep(20)
    print(`adopted ${next.stats().adopted}`)
    await next.close()
  },
  /**
   * Records in rounds, of records that grow, and waits for each round to be acknowledged: memory is used again and again.
   * `how` is a broker and a topic. Prints how many events it has recorded.
   */
  'record-in-rounds': async () => {
    const [broker = '', topic] = how.split(' ')
    const place = { brokers: [broker], topic, spoolDir: `${dataDir}/spool` }
    const trail = createAuditTrail({ agentId: 'child', ...place, handleExit: false, onProblem: () => {} })
    const session = trail.startSession({ session_id: 'rounds' })
    for (let round = 0; round < 40; round++) {
      const filler = 'x'.repeat(8000 + 111 * round)
      const receipts = Array.from({ length: 40 }, () => session.decision({ reasoning: `round ${round} ${filler}` }))
      await receipts.at(-1)?.acked
    }
    await trail.close()
    print(`recorded ${trail.stats().recorded}`)
  },
  /** Beside a spool that cannot be read, as unreadable-spool.ts has it, until its own event is acknowledged. */
  'beside-unreadable': async () => {
    const problems: string[] = []
    const onProblem = ({ message }: Error): void => void problems.push(message)
    const trail = createAuditTrail({ agentId: 'child', dataDir, handleExit: false, onProblem })
    await trail.startSession({ session_id: 'own' }).decision({ reasoning: 'own' }).acked
    while (problems.length === 0) await sleep(20)
    print(`${problems[0]}`)
    print(`adopted ${trail.stats().adopted}`)
    rmSync(`${dataDir}/spool/audit.events/unreadable`)
    while (trail.stats().spoolBytes > 0) await sleep(20)
    print(`adopted ${trail.stats().adopted}`)
    await trail.close()
  },
  /** Its delivery thread fails as fail-after-append.ts has it. Prints what becomes of the last event. */
  'fail-after-append': async () => {
    const trail = createAuditTrail({ agentId: 'child', dataDir, handleExit: false, onProblem: () => {} })
    const session = trail.startSession({ session_id: 'failing' })
    const receipts = Array.from({ length: 50 }, (_, number) => session.decision({ reasoning: `decision ${number}` }))
    print(
      (await receipts.at(-1)?.acked.then(
        () => 'acknowledged',
        ({ message }: Error) => message,
      )) ?? '',
    )
    await trail.close({ timeoutMs: 1000 })
  },
  /** Its delivery thread takes longer to start than close waits for it: it is closed, and the process ends at once. */
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
  /** Prints what making a trail on a disk that cannot be written throws. */
  'read-only-disk': () => {
    try {
      createAuditTrail({ agentId: 'child', brokers: NOWHERE, spoolDir: `${how}/spool` })
    } catch (error) {
      print(`${(error as { code: string }).code}: ${(error as Error).message}`)
    }
  },
  /** Uses the embedded log, never closes, and has nothing left to do. */
  'run-out': () => {
    const trail = createAuditTrail({ agentId: 'child', dataDir })
    trail.startSession({ session_id: 'running-out' }).decision({ reasoning: 'the last one' })
  },
  /** Events that are refused, and nobody waits for: receipts left alone, or whose promises were read and dropped. */
  'drop-receipts': async () => {
    const options = { agentId: 'child', brokers: NOWHERE, handleExit: false, onProblem: () => {} }
    const trail = createAuditTrail({ ...options, durability: 'broker', maxBufferBytes: 2 ** 20 })
    const session = trail.startSession()
    for (let number = 0; number < 60; number++) {
      const receipt = session.decision({ reasoning: 'x'.repeat(60_000) })
      if (how === 'read') void [receipt.stored, receipt.acked]
    }
    const { refused } = await trail.close({ timeoutMs: 0 })
    // A turn of the event loop, in which Node would have ended the process for a rejection that nobody handles.
    setImmediate(() => {
      print(refused > 0 ? 'refused, and alive' : 'nothing was refused')
      process.exit(0)
    })
  },
  /** Runs a guarded call, as `how` says it in JSON, in a session begun elsewhere; prints what it returned, or why not. */
  'run-approved': async () => {
    const { ref, call, options } = JSON.parse(how) as { ref: SessionRef; call: ToolCall; options: GuardOptions<string> }
    const trail = createAuditTrail({ agentId: 'child', dataDir, guardTimeoutMs: 60_000 })
    const outcome = trail.resumeSession(ref).guard(call, () => 'paid', options)
    print(await outcome.catch(({ code }: { code: string }) => code))
    await trail.close()
  },
  /** Waits for a receipt with nothing else to keep the process alive. */
  'await-receipt': async () => {
    const trail = createAuditTrail({ agentId: 'child', dataDir, handleExit: false })
    const receipt = trail.startSession({}).decision({ reasoning: 'waited for' })
    await receipt.acked
    print('acknowledged')
  },
}

await commands[command]?.()
