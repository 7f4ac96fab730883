/** Detectors of a user's own, from a module, and thresholds that replace those of a detector, from a file. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { InvalidInputError, noSuch } from '@agent-audit/schemas'
import type { Detector, Thresholds } from './detector.ts'

const NAME = /^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$/
const TEXTS = ['finds', 'method', 'source'] as const

/**
 * Loads the detectors that a module exports: as `detectors` (a list), or as its default (a detector or a list).
 * @throws InvalidInputError `OPTIONS_INVALID` if it cannot be loaded, or exports something else.
 */
export async function loadDetectors(path: string): Promise<Detector[]> {
  let loaded: { readonly detectors?: unknown; readonly default?: unknown }
  try {
    loaded = (await import(pathToFileURL(resolve(path)).href)) as typeof loaded
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new InvalidInputError('OPTIONS_INVALID', `module ${path}: ${why}`, { cause })
  }
  const exported = loaded.detectors ?? loaded.default
  const detectors: unknown[] = Array.isArray(exported) ? exported : [exported]
  const faults = detectors.flatMap((each, index) => faultsOf(each).map((fault) => `detector ${index + 1}: ${fault}`))
  if (faults.length === 0) return detectors as Detector[]
  const expected = 'expected an export `detectors`, or a default export: a detector, or a list of them'
  throw new InvalidInputError('OPTIONS_INVALID', `module ${path}: ${expected}; ${faults.join('; ')}`)
}

function faultsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return ['no object']
  const detector = value as Readonly<Record<string, unknown>>
  const faults = TEXTS.filter((key) => typeof detector[key] !== 'string').map((key) => `${key}: expected a text`)
  if (!NAME.test(String(detector['name']))) faults.push('name: expected group.anomaly, such as acme.night_shift')
  if (!Number.isInteger(detector['version']) || Number(detector['version']) < 1)
    faults.push('version: expected 1 or more')
  if (!areThresholds(detector['thresholds'])) faults.push('thresholds: expected an object of numbers')
  if (typeof detector['find'] !== 'function') faults.push('find: expected a function')
  if (detector['unit'] === 'session') {
    if (!['string', 'function'].includes(typeof detector['candidates']))
      faults.push('candidates: expected a text, or a function of the thresholds')
  } else if (detector['unit'] === 'query') {
    if (typeof detector['sql'] !== 'string') faults.push('sql: expected a text')
    if (typeof (detector['schema'] as { parse?: unknown } | null)?.parse !== 'function') {
      faults.push('schema: expected an object with parse')
    }
  } else faults.push('unit: expected session or query')
  return faults
}

function areThresholds(value: unknown): value is Thresholds {
  return typeof value === 'object' && value !== null && Object.values(value).every((each) => Number.isFinite(each))
}

/**
 * All detectors together.
 * @throws InvalidInputError `OPTIONS_INVALID` if two have one name.
 */
export function joined(...lists: readonly (readonly Detector[])[]): Detector[] {
  const byName = new Map<string, Detector>()
  for (const detector of lists.flat()) {
    if (byName.has(detector.name)) {
      throw new InvalidInputError('OPTIONS_INVALID', `two detectors have the name ${detector.name}`)
    }
    byName.set(detector.name, detector)
  }
  return [...byName.values()]
}

/**
 * Reads thresholds: `{"loop.repeated_call": {"repeats": 5}}`.
 * @throws InvalidInputError `OPTIONS_INVALID` naming each unknown detector and threshold with the one that it is near, and
 * each value that is no number.
 */
export function readThresholds(path: string, detectors: readonly Detector[]): Record<string, Thresholds> {
  let given: unknown
  try {
    given = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new InvalidInputError('OPTIONS_INVALID', `thresholds ${path}: ${why}`, { cause })
  }
  const issues = thresholdIssues(given, detectors)
  if (issues.length === 0) return given as Record<string, Thresholds>
  const listed = issues.map((issue) => `${issue.path}: ${issue.expected}`).join('; ')
  throw new InvalidInputError('OPTIONS_INVALID', `thresholds ${path}: ${listed}`, { issues })
}

function thresholdIssues(given: unknown, detectors: readonly Detector[]): { path: string; expected: string }[] {
  if (!isObject(given)) return [{ path: '(file)', expected: 'expected an object of detectors' }]
  return Object.entries(given).flatMap(([name, values]) => {
    const detector = detectors.find((each) => each.name === name)
    if (detector === undefined) {
      return [{ path: name, expected: noSuchDetector(name, detectors) }]
    }
    if (!isObject(values)) return [{ path: name, expected: 'expected an object of thresholds' }]
    const known = Object.keys(detector.thresholds)
    return Object.entries(values).flatMap(([key, value]) => {
      const path = `${name}.${key}`
      if (!known.includes(key)) return [{ path, expected: noSuch('threshold', key, known) }]
      return Number.isFinite(value) ? [] : [{ path, expected: 'expected a number' }]
    })
  })
}

/** Says that there is no such detector, and which name is near. */
export function noSuchDetector(name: string, detectors: readonly Detector[]): string {
  return noSuch(
    'detector',
    name,
    detectors.map((each) => each.name),
  )
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
