/** Delivery into memory: does the work of the delivery thread, the spool and the broker at once, in one list. */
import type { DeliveryHooks, DeliveryPort } from '../delivery/port.ts'
import { NO_GAUGES } from '../delivery/protocol.ts'
import type { ChunkAck, DeliverySettings, Report, EncodedChunk, ToDelivery } from '../delivery/protocol.ts'

/** The failing part: the spool cannot be written, the broker does not answer, or the spool is full and refuses. */
export type Failure = 'disk' | 'broker' | 'full'

export class MemoryDelivery {
  /** Encoded records that are stored, in order. */
  readonly stored: Uint8Array[] = []
  #failure: Failure | undefined
  #settings: DeliverySettings | undefined
  #hooks: DeliveryHooks | undefined
  /** Chunks that wait for the disk, and chunks that wait for the broker. */
  #waiting: EncodedChunk[] = []
  #unsent: EncodedChunk[] = []
  #storedTo = -1
  #offset = 0
  #taken = 0
  #posted = 0

  /** Replaces the delivery thread. One instance serves one trail. */
  start(settings: DeliverySettings, hooks: DeliveryHooks): DeliveryPort {
    this.#settings = settings
    this.#hooks = hooks
    return {
      post: (message) => this.#handle(message),
      hold: () => {},
      waitSettled: () => this.#taken >= this.#posted,
      release: () => {},
    }
  }

  /** Fails in this way from now on; undefined ends the failure, and waiting chunks go on. */
  fail(how: Failure | undefined): void {
    this.#failure = how
    this.#proceed({})
  }

  #handle(message: ToDelivery): void {
    if (message.type === 'close') return this.#proceed({ closed: true })
    const { chunk } = message
    this.#posted++
    if (this.#failure !== 'full') {
      this.#waiting.push(chunk)
      return this.#proceed({})
    }
    const problem = { kind: 'unavailable', code: 'SPOOL_FULL', message: 'the trail was told to be full' } as const
    this.#taken++
    this.#report({ refused: [{ firstSeq: chunk.firstSeq, problem }] })
  }

  #proceed(more: Partial<Report>): void {
    const onDisk = this.#settings?.durability === 'disk'
    if (!(onDisk && this.#failure === 'disk')) {
      for (const chunk of this.#waiting.splice(0)) {
        this.#storedTo = chunk.firstSeq
        if (onDisk) this.#keep(chunk)
        this.#unsent.push(chunk)
      }
    }
    const sent = this.#failure === 'broker' ? [] : this.#unsent.splice(0)
    if (!onDisk) for (const chunk of sent) this.#keep(chunk)
    this.#report({ acked: sent.map((chunk) => this.#acknowledge(chunk)), ...more })
  }

  #keep({ bytes, ends }: EncodedChunk): void {
    let start = 0
    for (const end of ends) {
      this.stored.push(bytes.slice(start, end))
      start = end
    }
    this.#taken++
  }

  #acknowledge({ firstSeq, ends }: EncodedChunk): ChunkAck {
    const range = { partition: 0, firstOffset: this.#offset, count: ends.length }
    this.#offset += ends.length
    return { firstSeq, partitions: new Int32Array(ends.length), ranges: [range] }
  }

  #report(more: Partial<Report>): void {
    const connected = this.#failure !== 'broker'
    const gauges = { ...NO_GAUGES, connected }
    const nothing = {
      refused: [],
      acked: [],
      lost: [],
      problems: [],
      resumed: null,
      chain: null,
      freed: [],
      closed: false,
    }
    this.#hooks?.onReport({ ...nothing, storedTo: this.#storedTo, gauges, ...more })
  }
}
