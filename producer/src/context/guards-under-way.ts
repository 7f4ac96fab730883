/** The guards that have begun and not ended: a trail that closes waits for them, so that their results are recorded. */
import { deadline } from './availability.ts'

export class GuardsUnderWay {
  #count = 0
  #ended: PromiseWithResolvers<void> | undefined

  async run<T>(guard: () => Promise<T>): Promise<T> {
    this.#count++
    try {
      return await guard()
    } finally {
      if (--this.#count === 0) this.#ended?.resolve()
    }
  }

  /** Undefined when there is none, or no time to wait. */
  ended(timeoutMs: number): Promise<void> | undefined {
    if (this.#count === 0 || timeoutMs === 0) return undefined
    this.#ended ??= Promise.withResolvers<void>()
    const limit = deadline(timeoutMs)
    return Promise.race([this.#ended.promise, limit.passed]).finally(() => limit.clear())
  }
}
