/** Programs that the tests run in separate processes, and kill, stop or race. They print one line a step. */
import fs, { existsSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { adoptSpools, openEmbeddedLog, openRunSpool } from '@agent-audit/spool'
import { chunkOf, runIdOf, TOPIC } from './chunks.ts'
import { printLine } from '../support/print-line.ts'

/**
 * Stops this process at a step that a race is about, until SIGCONT: after the first call of the function of node:fs that
 * `AUDIT_TEST_STOP_AFTER` names, on a file of a spool.
 */
function stopAfter(name: 'closeSync' | 'statSync' | 'rmSync'): void {
  const original = fs[name] as (...args: unknown[]) => unknown
  let stopped = false
  const replacement = (...args: unknown[]): unknown => {
    const result = original(...args)
    if (!stopped && (name === 'closeSync' || String(args[0]).includes('.spool'))) {
      stopped = true
      printLine(`stopped after ${name}`)
      process.kill(process.pid, 'SIGSTOP')
    }
    return result
  }
  Object.assign(fs, { [name]: replacement })
  syncBuiltinESMExports()
}

function stayAlive(): void {
  setInterval(() => {}, 60_000)
}

/** The error's code, or the returned value. */
function outcomeOf(work: () => unknown): string {
  try {
    return String(work())
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

const RECORDS = 20
const held: unknown[] = []

const commands: Record<string, (directory: string, number: number, count: number) => void> = {
  /** Appends for ever, printing each committed id. */
  'append-forever': (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), topic: TOPIC, maxBytes: 2 ** 40, fsync: false })
    for (let seq = 0; ; seq += RECORDS) printLine(spool.append(chunkOf(seq, RECORDS)))
  },
  /** Appends for ever, keeping the newest ten; prints `+id` and `-id`, the trim before it is done. */
  'append-and-trim': (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), topic: TOPIC, maxBytes: 2 ** 40, fsync: false })
    for (let seq = 0; ; seq += RECORDS) {
      const id = spool.append(chunkOf(seq, RECORDS))
      printLine(`+${id}`)
      if (id <= 10) continue
      printLine(`-${id - 10}`)
      spool.trim(id - 10)
    }
  },
  /** Holds a spool with one chunk. */
  hold: (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), topic: TOPIC, maxBytes: 2 ** 30, fsync: false })
    printLine(spool.append(chunkOf(0, RECORDS)))
    // A database that is collected gives its lock up.
    held.push(spool)
    stayAlive()
  },
  /** Opens and closes `count` spools, each with one chunk, which stay. */
  'open-many': (directory, number, count) => {
    for (let index = 0; index < count; index++) {
      const spool = openRunSpool({
        directory,
        runId: runIdOf(number + index),
        topic: TOPIC,
        maxBytes: 2 ** 30,
        fsync: false,
      })
      spool.append(chunkOf(0, 1))
      spool.close()
      printLine(runIdOf(number + index))
    }
  },
  /** Adopts `count` times, draining the adopted spools, printing each run. */
  'adopt-many': (directory, _number, count) => {
    for (let index = 0; index < count; index++) {
      const { spools, damaged } = adoptSpools({ directory })
      for (const { file } of damaged) printLine(`damaged ${file}`)
      for (const spool of spools) {
        const chunks = spool.read(0, 2 ** 30)
        spool.trim(chunks.at(-1)?.id ?? 0)
        spool.close()
        printLine(spool.runId)
      }
    }
  },
  /**
   * Appends until the disk refuses; prints the ids and the code, then the number of chunks, then the outcomes of the same append,
   * another one under its run_seqs, trimming all and closing give.
   */
  'append-until-refused': (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), topic: TOPIC, maxBytes: 2 ** 40, fsync: false })
    let seq = -RECORDS
    let outcome: string
    do {
      seq += RECORDS
      outcome = outcomeOf(() => spool.append(chunkOf(seq, RECORDS)))
      printLine(outcome)
    } while (!outcome.startsWith('SPOOL'))
    printLine(spool.stats().chunks)
    printLine(outcomeOf(() => spool.append(chunkOf(seq, RECORDS))))
    printLine(outcomeOf(() => spool.append(chunkOf(seq, 1))))
    if (number === 2) {
      printLine(outcomeOf(() => spool.trim(seq / RECORDS)))
      printLine(outcomeOf(() => spool.close()))
    }
    stayAlive()
  },
  /** Appends `count` batches of 1 to 5 records to partition 0, printing `baseOffset index` for each. */
  'log-append': (directory, number, count) => {
    const log = openEmbeddedLog({ directory })
    log.createTopic('events', 1)
    for (let index = 0; index < count; index++) {
      const value = Buffer.from(`${number}:${index}`)
      const records = Array.from({ length: 1 + (index % 5) }, () => ({ key: null, value }))
      const { baseOffset } = log.append('events', 0, records)
      printLine(`${baseOffset} ${index}`)
    }
    log.close()
  },
  /** Opens `count` new logs, each at the same moment as the other of two processes, printing their ids. */
  'open-logs-together': (directory, number, count) => {
    for (let index = 0; index < count; index++) {
      writeFileSync(join(directory, `ready-${number}-${index}`), '')
      while (!existsSync(join(directory, `ready-${1 - number}-${index}`)));
      const log = openEmbeddedLog({ directory: join(directory, `data-${index}`) })
      log.createTopic('events', 4)
      printLine(log.id)
      log.close()
    }
  },
}

const step = process.env['AUDIT_TEST_STOP_AFTER']
if (step === 'closeSync' || step === 'statSync' || step === 'rmSync') stopAfter(step)
const [command = '', directory = '', number = '0', count = '0'] = process.argv.slice(2)
const run = commands[command]
if (run === undefined) throw new Error(`no command ${command}`)
run(directory, Number(number), Number(count))
