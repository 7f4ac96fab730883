/** What the notary says on stderr, and its metrics. */
import type { NotaryObserver } from '@agent-audit/notary'
import { Counter, Gauge, Registry } from 'prom-client'
import { counted, printable } from './render/text.ts'

export class NotaryReport {
  readonly #registry = new Registry()
  readonly #say: (line: string) => void
  #isOpen = false
  #unsignedSince: number | undefined
  /** By the sink's name, why it takes nothing. */
  readonly #faults = new Map<string, string>()
  readonly #leaves: Counter<'kind'>
  readonly #notLeaves: Counter
  readonly #checkpoints: Counter
  readonly #problems: Counter
  readonly #size: Gauge<'of'>
  readonly #signedAt: Gauge
  readonly #open: Gauge
  readonly #unsigned: Gauge
  readonly #delivered: Counter<'sink'>
  readonly #failures: Counter<'sink'>
  readonly #waiting: Gauge<'sink'>

  constructor(say: (line: string) => void) {
    this.#say = say
    const registers = [this.#registry]
    const count = (name: string, help: string): Counter => new Counter({ name, help, registers })
    const labels = ['sink'] as const
    const prefix = 'audit_notary'
    this.#leaves = new Counter({
      name: `${prefix}_leaves_total`,
      help: 'Leaves that were stored, by kind; unread: messages that are no seal.',
      labelNames: ['kind'] as const,
      registers,
    })
    this.#notLeaves = count(
      `${prefix}_not_leaves_total`,
      'Messages of the topic that are empty, or above 65,535 bytes.',
    )
    this.#checkpoints = count(`${prefix}_checkpoints_total`, 'Checkpoints that were signed.')
    this.#problems = count(`${prefix}_problems_total`, 'Tries that the store or the log did not answer.')
    this.#size = new Gauge({
      name: `${prefix}_size`,
      help: 'Leaves of the log (of="log"), and of the newest checkpoint that a sink has (of its name).',
      labelNames: ['of'] as const,
      registers,
    })
    this.#signedAt = new Gauge({
      name: `${prefix}_signed_timestamp_seconds`,
      help: 'Time of the newest checkpoint, seconds since 1970.',
      registers,
    })
    this.#open = new Gauge({
      name: `${prefix}_open`,
      help: '1 while the log is open, and store and topic answer.',
      registers,
    })
    this.#open.set(0)
    this.#unsigned = new Gauge({
      name: `${prefix}_unsigned_seconds`,
      help: 'How long the oldest stored leaf has been without a checkpoint; 0: none is.',
      registers,
    })
    this.#delivered = new Counter({
      name: `${prefix}_delivered_total`,
      help: 'Checkpoints that a sink has taken.',
      labelNames: labels,
      registers,
    })
    this.#failures = new Counter({
      name: `${prefix}_sink_failures_total`,
      help: 'Tries that a sink did not take.',
      labelNames: labels,
      registers,
    })
    this.#waiting = new Gauge({
      name: `${prefix}_sink_waiting`,
      help: '1 while a sink takes no checkpoint.',
      labelNames: labels,
      registers,
    })
  }

  #setOpen(isOpen: boolean): void {
    this.#isOpen = isOpen
    this.#open.set(isOpen ? 1 : 0)
  }

  /** Why the notary does not do all of its work: the log is not open, or a sink takes nothing. */
  faults(): string[] {
    const ofSinks = [...this.#faults].map(([sink, why]) => printable(`${sink} takes no checkpoint: ${why}`))
    return this.#isOpen ? ofSinks : ['the log is not open, or store or topic do not answer', ...ofSinks]
  }

  /** The text format of Prometheus. */
  text(): Promise<string> {
    this.#unsigned.set(this.#unsignedSince === undefined ? 0 : (Date.now() - this.#unsignedSince) / 1000)
    return this.#registry.metrics()
  }

  get observer(): NotaryObserver {
    return {
      began: ({ origin, size }) => {
        this.#setOpen(true)
        this.#size.set({ of: 'log' }, size)
        this.#say(`log ${printable(origin)}: ${counted(size, 'leaf', 'leaves')}, in agreement with the sinks`)
      },
      stored: (leaves) => {
        this.#setOpen(true)
        this.#unsignedSince ??= Date.now()
        for (const { kind } of leaves) this.#leaves.inc({ kind })
        const unread = leaves.filter(({ kind }) => kind === 'unread')
        if (unread[0] === undefined) return
        const count = counted(unread.length, 'message')
        this.#say(`${count} from offset ${unread[0].offset} on: no seal, kept as unread`)
      },
      signed: ({ size, seconds }) => {
        this.#setOpen(true)
        this.#unsignedSince = undefined
        this.#checkpoints.inc()
        this.#size.set({ of: 'log' }, size)
        this.#signedAt.set(seconds)
      },
      notALeaf: (offset) => {
        this.#notLeaves.inc()
        this.#say(`message at offset ${offset}: empty, or above 65,535 bytes, and no leaf`)
      },
      problem: (error) => {
        this.#problems.inc()
        // Store or topic are away: what is opened, stored or signed next says that they are back.
        this.#setOpen(false)
        this.#say(`${printable(error.message)}; trying again`)
      },
      delivered: (sink, { size }) => {
        this.#delivered.inc({ sink })
        this.#waiting.set({ sink }, 0)
        this.#faults.delete(sink)
        this.#size.set({ of: sink }, size)
      },
      sinkWaits: (sink, error) => {
        this.#failures.inc({ sink })
        this.#waiting.set({ sink }, 1)
        this.#faults.set(sink, messageOf(error))
        this.#say(`${printable(sink)} takes no checkpoint: ${printable(messageOf(error))}`)
      },
      sinkGoesOn: (sink) => this.#say(`${printable(sink)} takes checkpoints again`),
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
