/** Programs that the tests run in processes of their own, to be killed, stopped or raced. One line of output a step. */
import { writeSync } from 'node:fs'
import { adoptSpools, openEmbeddedLog, openRunSpool } from '@agent-audit/spool'
import { chunkOf, runIdOf } from './chunks.ts'

/** Written before the next step begins: what was printed has happened, whenever the process is killed. */
function print(line: string | number): void {
  writeSync(1, `${line}\n`)
}

function stayAlive(): void {
  setInterval(() => {}, 60_000)
}

const RECORDS = 20

const commands: Record<string, (directory: string, number: number, count: number) => void> = {
  /** Appends for ever, printing each committed id. */
  'append-forever': (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), maxBytes: 2 ** 40, fsync: false })
    for (let seq = 0; ; seq += RECORDS) print(spool.append(chunkOf(seq, RECORDS)))
  },
  /** Appends for ever, keeping the newest ten; prints `+id` and `-id`, the trim before it is done. */
  'append-and-trim': (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), maxBytes: 2 ** 40, fsync: false })
    for (let seq = 0; ; seq += RECORDS) {
      const id = spool.append(chunkOf(seq, RECORDS))
      print(`+${id}`)
      if (id <= 10) continue
      print(`-${id - 10}`)
      spool.trim(id - 10)
    }
  },
  /** Holds a spool with one chunk. */
  hold: (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), maxBytes: 2 ** 30, fsync: false })
    print(spool.append(chunkOf(0, RECORDS)))
    stayAlive()
  },
  /** Opens and closes `count` spools, each with one chunk, which stay. */
  'open-many': (directory, number, count) => {
    for (let index = 0; index < count; index++) {
      const spool = openRunSpool({ directory, runId: runIdOf(number + index), maxBytes: 2 ** 30, fsync: false })
      spool.append(chunkOf(0, 1))
      spool.close()
      print(runIdOf(number + index))
    }
  },
  /** Adopts `count` times, draining what it gets, printing each run it got. */
  'adopt-many': (directory, _number, count) => {
    for (let index = 0; index < count; index++) {
      const { spools, damaged } = adoptSpools({ directory })
      for (const { file } of damaged) print(`damaged ${file}`)
      for (const spool of spools) {
        const chunks = spool.read(0, 2 ** 30)
        spool.trim(chunks.at(-1)?.id ?? 0)
        spool.close()
        print(spool.runId)
      }
    }
  },
  /** Appends until the disk refuses; prints the ids, then the code, then what the same append gives again. */
  'append-until-refused': (directory, number) => {
    const spool = openRunSpool({ directory, runId: runIdOf(number), maxBytes: 2 ** 40, fsync: false })
    for (let seq = 0; ; seq += RECORDS) {
      try {
        print(spool.append(chunkOf(seq, RECORDS)))
      } catch (error) {
        print(error instanceof Error && 'code' in error ? String(error.code) : String(error))
        break
      }
    }
    print(spool.stats().chunks)
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
      print(`${baseOffset} ${index}`)
    }
    log.close()
  },
  /** Opens the log and prints its id. */
  'log-id': (directory) => {
    const log = openEmbeddedLog({ directory })
    log.createTopic('events', 4)
    print(log.id)
    log.close()
  },
}

const [command = '', directory = '', number = '0', count = '0'] = process.argv.slice(2)
const run = commands[command]
if (run === undefined) throw new Error(`no command ${command}`)
run(directory, Number(number), Number(count))
