/** The price list: data that says where it is from. */
import { PRICES } from '@agent-audit/analytics'
import { expect, it } from 'vitest'

it.each(PRICES.map((price) => [`${price.model} from ${price.since}`, price] as const))(
  'the price of %s has a day, a source, the day it was read, and is not 0',
  (_, price) => {
    for (const day of [price.since, price.read_on]) {
      expect(day).toMatch(/^\d{4}-\d\d-\d\d$/)
      expect(new Date(`${day}T00:00:00Z`).toISOString()).toMatch(new RegExp(`^${day}`))
    }
    expect(price.source).toMatch(/^https:\/\/\S+\.\S/)
    const { input, output, cache_read: read, cache_write: write } = price
    expect(Math.min(input, output, read, write)).toBeGreaterThan(0)
    // A cache that is read costs less than plain input, a model's own words more.
    expect([read < input, write >= input, output > input]).toEqual([true, true, true])
  },
)

it('a model has one price on a day', () => {
  const keys = PRICES.map(({ model, since }) => `${model} ${since}`)
  expect(new Set(keys).size).toBe(keys.length)
  expect(PRICES.filter(({ model }) => /-(\d{8}|\d{4}-\d\d-\d\d)$/.test(model))).toEqual([])
})
