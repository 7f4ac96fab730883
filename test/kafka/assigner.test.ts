/** How the partitions of a group are divided among members that subscribe different topics. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { dividePartitions } from '@agent-audit/kafka/source'

const TOPICS = ['a', 'b', 'c', 'd']
const SUBSCRIPTIONS = fc.uniqueArray(fc.constantFrom(...TOPICS), { minLength: 1 })
const GROUPS = fc
  .array(SUBSCRIPTIONS, { minLength: 1, maxLength: 6 })
  .map((members) => new Map(members.map((topics, index) => [`m${index}`, topics])))
const COUNTS = fc.array(fc.nat(13), { minLength: TOPICS.length, maxLength: TOPICS.length })

function partitionsOf(counts: readonly number[]): Map<string, number[]> {
  return new Map(TOPICS.map((topic, index) => [topic, Array.from({ length: counts[index] ?? 0 }, (_, id) => id)]))
}

it('gives each partition of a subscribed topic to exactly one member, which subscribes that topic', () => {
  fc.assert(
    fc.property(GROUPS, COUNTS, (subscriptions, counts) => {
      const partitions = partitionsOf(counts)
      const given = [...dividePartitions(subscriptions, partitions)].flatMap(([member, byTopic]) =>
        Object.entries(byTopic).flatMap(([topic, ids]) => {
          expect(subscriptions.get(member)).toContain(topic)
          return ids.map((id) => `${topic}/${id}`)
        }),
      )
      const subscribed = TOPICS.filter((topic) => [...subscriptions.values()].flat().includes(topic))
      const expected = subscribed.flatMap((topic) => partitions.get(topic)?.map((id) => `${topic}/${id}`) ?? [])
      expect(given.toSorted()).toEqual(expected.toSorted())
    }),
  )
})

it('gives members of the same subscription as many partitions, to within one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), SUBSCRIPTIONS, COUNTS, (members, topics, counts) => {
      const subscriptions = new Map(Array.from({ length: members }, (_, index) => [`m${index}`, topics]))
      const divided = [...dividePartitions(subscriptions, partitionsOf(counts)).values()]
      const loads = divided.map((byTopic) => Object.values(byTopic).flat().length)
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
    }),
  )
})

it('gives a member that alone reads one topic less of the others', () => {
  const subscriptions = new Map([
    ['both', ['a', 'b']],
    ['one', ['a']],
  ])
  const divided = dividePartitions(subscriptions, partitionsOf([4, 2]))
  expect(divided.get('both')).toEqual({ b: [0, 1], a: [2] })
  expect(divided.get('one')).toEqual({ a: [0, 1, 3] })
})
