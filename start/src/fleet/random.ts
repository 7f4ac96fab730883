/** Repeatable random choices: the same seed gives the same numbers. */

export interface Random {
  /** From 0 up to 1. */
  next(): number
  /** A whole number from `min` to `max`, both included. */
  whole(min: number, max: number): number
  /** True in this share of cases. */
  chance(share: number): boolean
  pick<T>(items: readonly [T, ...T[]]): T
}

/** A separate stream of choices for each `index` of one seed: concurrent work does not change another stream. */
export function createRandom(seed: number, index: number): Random {
  let state = (seed ^ Math.imul(index + 1, 0x9e3779b1)) >>> 0
  // Mulberry32 (Tommy Ettinger): 32 bits of state, good enough for simulated conversations.
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const whole = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1))
  return {
    next,
    whole,
    chance: (share) => next() < share,
    pick: ([first, ...rest]) => [first, ...rest][whole(0, rest.length)] ?? first,
  }
}
