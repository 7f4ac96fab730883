/** Random seals for property tests: such as a producer or consumer may make. */
import type { ConsumerSeal, ProducerSeal, Range, SealState } from '@agent-audit/seals'
import * as fc from 'fast-check'

const hex = (digits: number): fc.Arbitrary<string> => fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`))
const hash: fc.Arbitrary<Buffer> = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes))
const topic = fc.stringMatching(/^[a-zA-Z0-9._-]{1,30}$/)
const count = fc.oneof(fc.nat(5), fc.nat(100_000), fc.nat({ max: Number.MAX_SAFE_INTEGER - 200_000 }))
const time = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2200, 0) })

/** Ranges from `start` on that ascend and do not touch, made of steps. */
function ranges(start: number, steps: readonly (readonly [number, number])[]): Range[] {
  let next = start
  return steps.map(([distance, size]) => {
    const first = next + distance
    const last = first + size
    next = last + 2
    return { first, last }
  })
}

const steps = fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 6 })
const state: fc.Arbitrary<SealState> = fc.oneof(
  fc.constantFrom<SealState>({ kind: 'open' }, { kind: 'closed' }),
  hex(31).map((digits): SealState => ({ kind: 'adopted', by: `0${digits}` })),
)

const shape = fc.record({
  topic,
  producerId: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
  runId: hex(31).map((digits) => `1${digits}`),
  number: fc.nat(100_000),
  first: count,
  tail: fc.nat(1_024),
  schema: hex(16),
  digest: hash,
  gapSteps: steps,
  lostSteps: steps,
  code: fc.stringMatching(/^[A-Z][A-Z_]{0,20}$/),
  prev: hash,
  time,
  state,
})

export const producerSeals: fc.Arbitrary<ProducerSeal> = shape.map(({ tail, gapSteps, lostSteps, code, ...seal }) => {
  const gaps = ranges(seal.first, gapSteps)
  const last = (gaps.at(-1)?.last ?? seal.first - 1) + tail
  const missing = gaps.reduce((sum, gap) => sum + gap.last - gap.first + 1, 0)
  const undelivered = ranges(0, lostSteps).filter((range) => range.last <= last)
  return {
    ...seal,
    last,
    count: last - seal.first + 1 - missing,
    gaps,
    undelivered: undelivered.map((range) => ({ ...range, code })),
    prev: seal.number === 0 ? undefined : seal.prev,
  }
})

export const consumerSeals: fc.Arbitrary<ConsumerSeal> = fc
  .record({
    logId: hex(16),
    topic,
    partition: fc.nat(1_000),
    first: count,
    size: fc.integer({ min: 1, max: 100_000 }),
    events: hash,
    skipped: hash,
    prev: fc.option(hash, { nil: undefined }),
  })
  .map(({ size, events, skipped, ...seal }) => ({
    ...seal,
    last: seal.first + size - 1,
    rows: 1,
    events: { count: size, digest: events },
    skipped: { count: size % 7, digest: skipped },
  }))

/** A text with one character removed, put in or replaced. */
export function changed(text: string): fc.Arbitrary<string> {
  const character = fc.constantFrom(...'0123456789abcxyzAZ=+/-'.split(''), ' ', '\n', '\r', '\t', 'é', '\u00a0')
  return fc
    .tuple(fc.nat(text.length - 1), fc.nat(1), fc.oneof(fc.constant(''), character))
    .map(([at, removed, put]) => text.slice(0, at) + put + text.slice(at + removed))
}
