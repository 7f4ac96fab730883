/**
 * The real producer at full speed, in a separate process. It answers each order over IPC once the order is done. The
 * ids of acknowledged events go to a file, one a line.
 *
 * Started with one argument, a {@link ProducerOrder} as JSON.
 */
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AuditTrail, createAuditTrail, type Durability, type Receipt } from '@agent-audit/producer'

export interface ProducerOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly spoolDir: string
  readonly durability: Durability
  readonly idsFile: string
  readonly keyFile: string
}

/** `go`: record, so many events at full speed, then so many a second until `pause`: stop, and wait until all is acknowledged. */
export type Command =
  | { readonly kind: 'go'; readonly burst: number; readonly rate: number }
  | { readonly kind: 'pause' }

export interface Tally {
  readonly acked: number
  readonly refused: number
  readonly runId: string
}

const SESSIONS = 48
const CHUNK = 100
/** The most events without an acknowledgement: beyond, the producer waits for the broker. */
const WINDOW = 20_000
const POLL_MS = 5

function listen(): void {
  const order = JSON.parse(process.argv[2] ?? '{}') as ProducerOrder
  const load = new Load(order)
  process.on('disconnect', () => process.exit(9))
  process.on('message', (command: Command) => {
    const done = command.kind === 'go' ? load.go(command) : load.pause()
    void done.then((tally) => process.send?.(tally))
  })
}

class Load {
  readonly #trail: AuditTrail
  readonly #ids: number
  readonly #waiting = new Set<Promise<void>>()
  #acknowledged: string[] = []
  readonly #tally = { acked: 0, refused: 0, runId: '' }
  #recording: Promise<void> = Promise.resolve()
  #paused = true

  constructor({ brokers, topic, spoolDir, durability, idsFile, keyFile }: ProducerOrder) {
    const signing = { keyFile }
    const settings = { agentId: 'faults', handleExit: false, brokers, topic, spoolDir, durability, signing }
    this.#trail = createAuditTrail({
      ...settings,
      onProblem: (problem) => process.stderr.write(`${problem.message}\n`),
    })
    this.#tally.runId = this.#trail.runId
    this.#ids = openSync(idsFile, 'a')
  }

  async go({ burst, rate }: { readonly burst: number; readonly rate: number }): Promise<Tally> {
    this.#paused = false
    this.#recording = this.#record(burst, rate)
    return this.#tally
  }

  async pause(): Promise<Tally> {
    this.#paused = true
    await this.#recording
    await Promise.all(this.#waiting)
    this.#writeIds()
    return this.#tally
  }

  #writeIds(): void {
    if (this.#acknowledged.length > 0) writeSync(this.#ids, this.#acknowledged.map((id) => `${id}\n`).join(''))
    this.#acknowledged = []
  }

  async #record(burst: number, rate: number): Promise<void> {
    const sessions = Array.from({ length: SESSIONS }, () => this.#trail.startSession())
    for (let count = 0; !this.#paused; count += CHUNK) {
      await this.#trail.writable()
      this.#writeIds()
      while (this.#waiting.size > WINDOW) await sleep(POLL_MS)
      for (let index = count; index < count + CHUNK; index++) {
        const session = sessions[index % SESSIONS]
        if (session !== undefined) this.#note(session.decision({ reasoning: `event ${index} of a burst of ${burst}` }))
      }
      await sleep(count < burst ? 0 : (1000 * CHUNK) / rate)
    }
    for (const session of sessions) this.#note(session.end())
  }

  #note(receipt: Receipt): void {
    const settled = this.#settle(receipt).finally(() => this.#waiting.delete(settled))
    this.#waiting.add(settled)
  }

  async #settle({ acked, event_id: id }: Receipt): Promise<void> {
    try {
      await acked
      this.#acknowledged.push(id)
      this.#tally.acked++
    } catch (error) {
      process.stderr.write(`refused ${id}: ${String(error)}\n`)
      this.#tally.refused++
    }
  }
}

if (import.meta.main) listen()
