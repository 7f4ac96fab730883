/** Which faults come in which round: each once and a few pairs, or any number drawn by a seed. */
import { brokerFaults } from './broker-faults.ts'
import { consumerFaults } from './consumer-faults.ts'
import { type Fault, pick } from './fault.ts'
import { producerFaults } from './producer-faults.ts'
import { storeFaults } from './store-faults.ts'

export const ALL: readonly Fault[] = [...consumerFaults, ...producerFaults, ...storeFaults, ...brokerFaults]

const SHORT_PAIRS = 3
const PAIR_SHARE = 0.5

/** The faults of one round: one, or two at once. */
export type Round = readonly Fault[]

/** Every fault once, in an order of the seed's, then pairs. */
export function shortPlan(faults: readonly Fault[], random: () => number): Round[] {
  const singles = shuffle(faults, random).map((fault) => [fault])
  return [...singles, ...Array.from({ length: SHORT_PAIRS }, () => drawPair(faults, random))]
}

/** Every fault once while there are rounds, then half of the rounds pairs. */
export function longPlan(faults: readonly Fault[], rounds: number, random: () => number): Round[] {
  const singles = shuffle(faults, random).map((fault) => [fault])
  const drawn = Array.from({ length: Math.max(0, rounds - singles.length) }, () =>
    random() < PAIR_SHARE ? drawPair(faults, random) : [pick(random, faults)],
  )
  return [...singles.slice(0, rounds), ...drawn]
}

function drawPair(faults: readonly Fault[], random: () => number): Round {
  const first = pick(random, faults)
  const others = faults.filter(({ target }) => target !== first.target)
  return others.length === 0 ? [first] : [first, pick(random, others)]
}

function shuffle<T>(list: readonly T[], random: () => number): T[] {
  return list
    .map((item) => ({ item, at: random() }))
    .toSorted((one, other) => one.at - other.at)
    .map(({ item }) => item)
}
