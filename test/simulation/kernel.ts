/**
 * Virtual time. Tasks lie in a queue by time. The next one runs once the code under test has done all that it can without
 * waiting, so that nothing depends on the machine's speed.
 */
interface Task {
  readonly time: number
  /** Tasks of the same time run in the order in which they were scheduled. */
  readonly order: number
  action: (() => void) | undefined
}

export class Kernel {
  /** Milliseconds since the beginning. */
  now = 0
  readonly #heap: Task[] = []
  #order = 0
  #awake = true

  /** Schedules a task. @returns a function that cancels it. */
  after(ms: number, action: () => void): () => void {
    const task: Task = { time: this.now + ms, order: this.#order++, action }
    this.#push(task)
    return () => {
      task.action = undefined
    }
  }

  /** Call it when an action gives the code under test something to do. */
  wake(): void {
    this.#awake = true
  }

  /** Runs until `done`, or until no task is left before `limit`. @returns whether it is done. */
  async run(done: () => boolean, limit: number): Promise<boolean> {
    for (;;) {
      if (this.#awake) {
        this.#awake = false
        // Every continuation that can run does, before an immediate.
        await new Promise<void>((resolve) => setImmediate(resolve))
        if (done()) return true
      }
      const task = this.#heap[0]
      if (task === undefined || task.time > limit) {
        this.now = Math.max(this.now, limit)
        return done()
      }
      this.#pop()
      if (task.action === undefined) continue
      this.now = task.time
      task.action()
    }
  }

  #push(task: Task): void {
    const heap = this.#heap
    let at = heap.push(task) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(task, heap[parent])) break
      heap[at] = heap[parent] as Task
      at = parent
    }
    heap[at] = task
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (isBefore(heap[child + 1], heap[child])) child++
      if (!isBefore(heap[child], last)) break
      heap[at] = heap[child] as Task
      at = child
    }
    heap[at] = last
  }
}

function isBefore(one: Task | undefined, other: Task | undefined): boolean {
  if (one === undefined || other === undefined) return one !== undefined
  return one.time < other.time || (one.time === other.time && one.order < other.order)
}
