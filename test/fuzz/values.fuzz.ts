/**
 * Whatever a tool returns or throws, its caller gets exactly that, soon, and the trail has a record of it that the consumer
 * stores. The same value as an argument, a message or a state is recorded or refused by name.
 */
import { strict as assert } from 'node:assert'
import type { AuditSession } from '@agent-audit/producer'
import { createTestTrail, type TestTrail } from '@agent-audit/producer/testing'
import * as fc from 'fast-check'
import type { FuzzTarget } from './target.ts'

/** An event takes at most so much of a core, whatever else the machine does, and so much memory. */
const MOST_MS = 2000
const MOST_BYTES = 600 * 2 ** 20

/** One object of a graph; `edges` are positions of others in the list. */
interface Node {
  readonly kind: (typeof KINDS)[number]
  readonly leaf: unknown
  readonly edges: readonly number[]
}

const KINDS = [
  'plain',
  'array',
  'class',
  'error',
  'getter',
  'counter',
  'thrower',
  'proxy',
  'revoked',
  'map',
  'toJSON self',
  'toJSON other',
  'toJSON fresh',
  'toJSON throws',
] as const

const OWN_CLASS: object = { constructor: class Own extends Object {} }

const leaf = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom<unknown>(NaN, -0, 1e308, 1n, undefined, null, Symbol('s'), () => 1, new Date(NaN), new Date(0), /x/),
  fc.constantFrom<unknown>(new Uint8Array(3), Buffer.from('b'), new Set([1]), Promise.resolve(), Object('boxed')),
  fc.integer({ min: 0, max: 2 ** 20 }).map((length) => 'x'.repeat(length)),
)
const graph: fc.Arbitrary<Node[]> = fc.array(
  fc.record<Node>({ kind: fc.constantFrom(...KINDS), leaf, edges: fc.array(fc.nat(40), { maxLength: 8 }) }),
  { minLength: 1, maxLength: 40 },
)
const use = fc.constantFrom(
  'returned',
  'thrown',
  'thrown in a session',
  'argument',
  'message',
  'state',
  'error' as const,
)

export const fuzz: FuzzTarget = {
  name: 'values',
  property: fc.asyncProperty(graph, use, fc.constantFrom('cut', 'refuse'), async (nodes, how, onOversize) => {
    const value = build(nodes)
    const trail = createTestTrail({ onOversize, maxRecordBytes: 65_536, onProblem: () => {} })
    const startedAt = process.cpuUsage()
    const before = bytesInUse()
    await USES[how](trail, value)
    const tookMs = process.cpuUsage(startedAt).user / 1000
    const grownBytes = bytesInUse() - before
    assert(tookMs < MOST_MS, `took ${tookMs} ms`)
    assert(grownBytes < MOST_BYTES, `took ${grownBytes} bytes`)
    // Reads every record as the consumer checks it.
    assert.deepEqual(trail.problems(), [])
  }),
}

const USES: Record<'returned' | 'thrown' | 'thrown in a session' | 'argument' | 'message' | 'state' | 'error', Use> = {
  async returned(trail, value) {
    const session = trail.startSession()
    // In an array, or a promise would be awaited, and an object with `then` called.
    const box = [value]
    const returned = await session.guard({ tool_name: 't', tool_input: {} }, () => box)
    assert(returned === box)
    session.end()
    assert.equal(trail.events({ event_type: 'tool_result' }).length, 1)
  },
  async thrown(trail, value) {
    const session = trail.startSession()
    assert(
      await throws(
        session.guard({ tool_name: 't', tool_input: {} }, () => fail(value)),
        value,
      ),
    )
    session.end()
    const [result] = trail.events({ event_type: 'tool_result' })
    assert.equal(result?.outcome, 'error')
    assert.equal(typeof result.error, 'string')
  },
  async 'thrown in a session'(trail, value) {
    assert(
      await throws(
        trail.withSession({}, () => fail(value)),
        value,
      ),
    )
    assert.deepEqual(
      trail.events().map(({ event_type: type }) => type),
      ['trail_started', 'session_start', 'error', 'session_end'],
    )
  },
  argument: recorded((session, value) => session.toolCall({ tool_name: 't', tool_input: value, outcome: 'denied' })),
  message: recorded((session, value) => session.llmCall({ input_messages: [value], output_text: null })),
  state: recorded((session, value) => session.stateSnapshot(value)),
  async error(trail, value) {
    const session = trail.startSession()
    session.error(value)
    session.end()
  },
}

type Use = (trail: TestTrail, value: unknown) => Promise<void>

/** The event is recorded, or refused with an error that has a bounded number of issues in a bounded text. */
function recorded(record: (session: AuditSession, value: unknown) => unknown): Use {
  return async (trail, value) => {
    const session = trail.startSession()
    try {
      record(session, value)
    } catch (error) {
      const { code, message, issues } = error as { code: unknown; message: string; issues: unknown[] }
      assert(code === 'EVENT_INVALID' || code === 'RECORD_TOO_LARGE', `threw ${String(error)}`)
      assert(issues.length <= 20 && message.length < 20_000, `an error of ${message.length} characters`)
    }
    session.end()
  }
}

/** Compared here: an async function would ask the value whether it is a promise. */
async function throws(work: Promise<unknown>, value: unknown): Promise<boolean> {
  try {
    await work
    return false
  } catch (error) {
    return error === value
  }
}

function fail(value: unknown): never {
  throw value
}

function bytesInUse(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Two steps, so that an object can have any other as its member: cycles too. */
function build(nodes: readonly Node[]): unknown {
  const objects = nodes.map(({ kind }) => (kind === 'array' ? [] : kind === 'error' ? new Error('e') : {}))
  const seen = objects.map((object, index) => dress(object, nodes[index] as Node, objects))
  for (const [index, { leaf: own, edges }] of nodes.entries()) {
    const members = [own, ...edges.map((edge) => seen[edge % seen.length])]
    for (const [key, member] of members.entries()) Object.assign(objects[index] as object, { [key]: member })
  }
  return seen[0]
}

/** The object as others see it. */
function dress(object: object, { kind }: Node, all: readonly object[]): object {
  const define = (key: string, get: () => unknown): object =>
    Object.defineProperty(object, key, { get, enumerable: true, configurable: true })
  let reads = 0
  switch (kind) {
    case 'class':
      return Object.setPrototypeOf(object, OWN_CLASS) as object
    case 'getter':
      return define('fresh', () => ({ all: [...all] }))
    case 'counter':
      return define('reads', () => reads++)
    case 'thrower':
      return define('throws', () => fail(new RangeError('no')))
    case 'proxy':
      return new Proxy(object, { get: (target, key) => Reflect.get(target, key) as unknown })
    case 'revoked': {
      const { proxy, revoke } = Proxy.revocable(object, {})
      revoke()
      return proxy
    }
    case 'map':
      return new Map([[object, object]])
    case 'toJSON self':
      return Object.assign(object, { toJSON: () => object })
    case 'toJSON other':
      return Object.assign(object, { toJSON: () => all[0] })
    case 'toJSON fresh':
      return Object.assign(object, { toJSON: () => fresh() })
    case 'toJSON throws':
      return Object.assign(object, { toJSON: () => fail(object) })
    default:
      return object
  }
}

/** Every object below it makes two others when it is asked. */
function fresh(): object {
  return { one: { toJSON: fresh }, other: { toJSON: fresh } }
}
