/**
 * Options of a single call: strict, like those of a trail. A misspelt `check` or `durability` would be taken for a missing one,
 * and a tool would run unjudged. No zod: the methods that record an event take options too, and must not pay for the check.
 */
import { InvalidInputError, invalidEvent, noSuch } from '@agent-audit/schemas'
import type { Issue } from '@agent-audit/schemas'
import type { WaitOptions } from '../api/audit-trail.ts'
import type { GuardOptions } from '../api/guard-options.ts'
import type { RecordOptions } from '../api/receipt.ts'

/** The longest time of a timer in Node.js; a longer one would be 1 ms. Some 24 days. */
const LONGEST_MS = 2 ** 31 - 1

/** @returns What is expected, where the value is wrong. */
type Check = (value: unknown) => string | undefined
type Checks<Options> = { readonly [Name in keyof Required<Options>]: Check }

const aFunction: Check = (value) => (typeof value === 'function' ? undefined : 'expected a function')
const milliseconds =
  (least: number): Check =>
  (value) =>
    typeof value === 'number' && value >= least && value <= LONGEST_MS
      ? undefined
      : `expected milliseconds, ${least} to ${LONGEST_MS}`
const oneOf =
  (...values: readonly string[]): Check =>
  (value) =>
    values.includes(value as string) ? undefined : `expected ${values.join(' or ')}`
/** The trail or the guard checks it. */
const checkedLater: Check = () => undefined

const RECORD: Checks<RecordOptions> = { durability: checkedLater }
const WAIT: Checks<WaitOptions> = { timeoutMs: milliseconds(0) }
const GUARD: Checks<GuardOptions<unknown>> = {
  onUnavailable: oneOf('refuse', 'proceed'),
  onResultUnavailable: oneOf('throw', 'report'),
  effect: oneOf('confirmed', 'dispatched'),
  durability: checkedLater,
  timeoutMs: milliseconds(1),
  approval: checkedLater,
  override: checkedLater,
  check: aFunction,
  describe: aFunction,
}

/** @returns A copy, which a callback cannot change. @throws InvalidInputError `EVENT_INVALID` naming every wrong option. */
export function takeGuardOptions<T>(given: GuardOptions<T>): GuardOptions<T> {
  const issues: Issue[] = []
  const taken = take(given, GUARD as Checks<GuardOptions<T>>, issues)
  if (issues.length > 0) throw invalidEvent('tool_call', issues)
  return taken
}

/** What is wrong with a guard's options, by the name of the option. */
export function findGuardIssues(given: GuardOptions<never>): readonly Issue[] {
  const issues: Issue[] = []
  take(given, GUARD, issues)
  return issues
}

/** Whether these are options of an event, or none. A quick look; {@link refuseRecordOptions} says what is wrong. */
export function areRecordOptions(given: RecordOptions): boolean {
  if (typeof given !== 'object') return false
  for (const name in given) if (name !== 'durability') return false
  return true
}

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong option. */
export function refuseRecordOptions(given: RecordOptions): never {
  const issues: Issue[] = []
  take(given, RECORD, issues)
  throw invalidEvent('event', issues)
}

/** @throws InvalidInputError `OPTIONS_INVALID` naming every wrong option. */
export function takeWaitOptions(method: string, given: WaitOptions): WaitOptions {
  const issues: Issue[] = []
  const taken = take(given, WAIT, issues)
  if (issues.length === 0) return taken
  const listed = issues.map(({ path, expected }) => `${path}: ${expected}`).join('; ')
  throw new InvalidInputError('OPTIONS_INVALID', `options of ${method}: ${listed}`, { issues })
}

/** Reads every known option once, inherited ones too. */
function take<Options extends object>(given: Options, checks: Checks<Options>, issues: Issue[]): Options {
  const taken: Partial<Options> = {}
  if (typeof given !== 'object' || given === null) {
    issues.push({ path: 'options', expected: 'expected an object' })
    return taken as Options
  }
  const names = Object.keys(checks) as (keyof Options & string)[]
  for (const name in given) {
    if (!Object.hasOwn(checks, name)) issues.push({ path: name, expected: noSuch('option', name, names) })
  }
  for (const name of names) {
    const value = given[name]
    const expected = value === undefined ? undefined : checks[name](value)
    if (expected === undefined) taken[name] = value
    else issues.push({ path: name, expected })
  }
  return taken as Options
}
