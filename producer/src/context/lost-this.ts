/** Methods that were taken off their object: an error that says so, in place of one about a private field. */
import { invalidEvent } from '@agent-audit/schemas'

interface Class {
  readonly name: string
  readonly prototype: object
}

/** Methods that only this package calls: they need no check, and one of them runs at every event. */
const INTERNAL = new Set(['constructor', 'checkOpen', 'recordChecked'])

/** Has the class's methods say what is wrong where `this` is another object, or none. @param name - Of an object of the class, for people. */
export function nameLostThis(owner: Class, name: string): void {
  const { prototype } = owner
  for (const [method, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    if (typeof value !== 'function' || INTERNAL.has(method)) continue
    const original = value as (this: unknown, one: unknown, two: unknown, three: unknown) => unknown
    // No rest parameter: an array for each event would cost more than the check.
    const checked = function (this: unknown, one: unknown, two: unknown, three: unknown): unknown {
      if (this instanceof (owner as unknown as new () => object)) return original.call(this, one, two, three)
      const expected = `expected to be called as ${name}.${method}(…): the method was taken off its ${name}`
      throw invalidEvent('event', [{ path: method, expected }])
    }
    Object.defineProperty(prototype, method, { value: checked })
  }
}
