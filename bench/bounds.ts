/** What the project wants of itself, and whether a run met it. Missed bounds are shown, and fail nothing. */
import { type ConsumerPart, median, type ProducerPart } from './results.ts'

export interface Bound {
  readonly what: string
  readonly wanted: string
  readonly measured: string
  readonly met: boolean
}

const SMALL = '0.3 KB'
const CONSUMER = { ratio: 1.7, cpuUsPerEvent: 6, peakRssMb: 400 }
const PRODUCER = { eventsPerSecond: 80_000, threadCpuUsPerEvent: 12 }

export function consumerBounds(part: ConsumerPart): Bound[] {
  const of = (contender: string, value: 'eventsPerSecond' | 'cpuUsPerEvent' | 'peakRssMb'): number => {
    const rounds = part.rounds.filter((round) => round.backlog === SMALL && round.contender === contender)
    return median(rounds.map((round) => round[value]))
  }
  const ratio = of('ours', 'eventsPerSecond') / of('obvious', 'eventsPerSecond')
  return [
    atLeast(`events/s at ${SMALL}, ours to obvious`, CONSUMER.ratio, Number(ratio.toFixed(2))),
    atMost(`node CPU us/event at ${SMALL}`, CONSUMER.cpuUsPerEvent, of('ours', 'cpuUsPerEvent')),
    atMost(`peak RSS MB at ${SMALL}`, CONSUMER.peakRssMb, of('ours', 'peakRssMb')),
  ]
}

export function producerBounds(part: ProducerPart): Bound[] {
  return ['ours, durability disk', 'ours, durability broker'].flatMap((contender) => {
    const rounds = part.rounds.filter((round) => round.size === SMALL && round.contender === contender)
    const speed = median(rounds.map((round) => round.eventsPerSecond))
    const thread = median(rounds.map((round) => round.threadCpuUsPerEvent))
    return [
      atLeast(`events/s at ${SMALL}, ${contender}`, PRODUCER.eventsPerSecond, speed),
      atMost(`us of the caller's thread an event at ${SMALL}, ${contender}`, PRODUCER.threadCpuUsPerEvent, thread),
    ]
  })
}

function atLeast(what: string, bound: number, measured: number): Bound {
  return { what, wanted: `at least ${bound}`, measured: String(measured), met: measured >= bound }
}

function atMost(what: string, bound: number, measured: number): Bound {
  return { what, wanted: `at most ${bound}`, measured: String(measured), met: measured <= bound }
}
