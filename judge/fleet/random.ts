/** Seeded randomness with the distributions that a fleet needs. */
import { createRandom } from '../../bench/support/sessions.ts'

export interface Random {
  /** 0 to 1, 1 excluded. */
  next(): number
  /** From `low` to `high`. */
  between(low: number, high: number): number
  normal(): number
  /** A value whose logarithm is normal: half of the values are below the median. */
  logNormal(median: number, sigma: number): number
  /** Mean 1, variance 1 / shape. */
  gamma(shape: number): number
  poisson(mean: number): number
  pick<T>(values: readonly T[]): T
  /** A key, as often as its weight says. */
  weighted(weights: Readonly<Record<string, number>>): string
  hex(digits: number): string
  /** Another source, which depends on the seed and the name alone: what is drawn from it changes nothing elsewhere. */
  fork(name: string): Random
}

const DIGITS = '0123456789abcdef'

export function seededRandom(seed: number): Random {
  const next = createRandom(seed)
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
  const poisson = (mean: number): number => {
    if (mean > 60) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal()))
    let count = -1
    for (let left = 1; left > Math.exp(-mean); left *= next()) count++
    return Math.max(0, count)
  }
  return {
    next,
    normal,
    poisson,
    between: (low, high) => low + (high - low) * next(),
    logNormal: (median, sigma) => median * Math.exp(sigma * normal()),
    gamma: (shape) => gammaOf(shape, next, normal) / shape,
    pick: (values) => pickFrom(values, next()),
    weighted(weights) {
      const entries = Object.entries(weights)
      let left = next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
      return (entries.find(([, weight]) => (left -= weight) < 0) ?? pickFrom(entries, next()))[0]
    },
    hex(digits) {
      let text = ''
      for (let digit = 0; digit < digits; digit++) text += DIGITS[Math.floor(next() * 16)] ?? ''
      return text
    },
    fork: (name) => seededRandom(hash(`${seed}/${name}`)),
  }
}

function pickFrom<T>(values: readonly T[], at: number): T {
  const value = values[Math.floor(at * values.length)]
  if (value === undefined) throw new Error('nothing to pick from')
  return value
}

/** Marsaglia and Tsang's method. */
function gammaOf(shape: number, next: () => number, normal: () => number): number {
  if (shape < 1) return gammaOf(shape + 1, next, normal) * (1 - next()) ** (1 / shape)
  const d = shape - 1 / 3
  for (;;) {
    const x = normal()
    const v = (1 + x / Math.sqrt(9 * d)) ** 3
    if (v > 0 && Math.log(1 - next()) < x ** 2 / 2 + d - d * v + d * Math.log(v)) return d * v
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (const character of text) value = Math.imul(value ^ (character.codePointAt(0) ?? 0), 0x01000193)
  return value >>> 0
}
