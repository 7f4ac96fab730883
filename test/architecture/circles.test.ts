/** No file depends on itself by way of others: imports of types, and those of another package's entry, count too. */
import { expect, it } from 'vitest'
import { filesBelow, PACKAGES, packageOf, readText } from './sources.ts'

const OWN = '@agent-audit/'
const sources = PACKAGES.flatMap((name) => filesBelow(`${name}/src`))
const paths = new Set(sources.map(({ path }) => path))
/** The files that each file imports. */
const imports = new Map(
  sources.map(({ path, imports: found }) => [
    path,
    found.map(({ specifier }) => resolve(path, specifier)).filter((file) => paths.has(file)),
  ]),
)

function resolve(from: string, specifier: string): string {
  if (specifier.startsWith('.')) return new URL(specifier, `file:///${from}`).pathname.slice(1)
  return specifier.startsWith(OWN) ? entryOf(specifier) : specifier
}

/** The source of a package's entry: `kafka/src/kafka-sender.ts` for `@agent-audit/kafka/sender`. */
function entryOf(specifier: string): string {
  const name = packageOf(specifier)
  const folder = name.slice(OWN.length)
  const { exports } = JSON.parse(readText(`${folder}/package.json`)) as {
    exports: Record<string, Record<string, string> | undefined>
  }
  const source = exports[`.${specifier.slice(name.length)}`]?.['agent-audit-source'] ?? ''
  return `${folder}/${source.replace('./', '')}`
}

/** A shortest way from a file back to itself. */
function circleOf(start: string, graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const cameFrom = new Map<string, string>()
  const queue = [start]
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    for (const next of graph.get(file) ?? []) {
      if (next === start) return wayTo(file, cameFrom)
      if (cameFrom.has(next)) continue
      cameFrom.set(next, file)
      queue.push(next)
    }
  }
  return undefined
}

function wayTo(file: string, cameFrom: ReadonlyMap<string, string>): string[] {
  const before = cameFrom.get(file)
  return before === undefined ? [file] : [...wayTo(before, cameFrom), file]
}

/** Each circle once: as it is met from its first file. */
function circlesIn(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const circles = [...graph.keys()].flatMap((start) => {
    const circle = circleOf(start, graph)
    return circle === undefined ? [] : [circle]
  })
  return circles
    .filter((circle) => circle[0] === circle.toSorted()[0])
    .map((circle) => [...circle, circle[0]].join(' -> '))
}

it('finds a circle, and names the files on it', () => {
  const graph = new Map([
    ['a', ['b', 'd']],
    ['b', ['c']],
    ['c', ['a', 'd']],
    ['d', []],
    ['e', ['e']],
  ])
  expect(circlesIn(graph)).toEqual(['a -> b -> c -> a', 'e -> e'])
})

it('no file depends on itself', () => {
  expect(circlesIn(imports)).toEqual([])
})

it("the consumer's pipeline knows no log, no store and no metrics: it imports packages and itself", () => {
  const pipeline = sources.filter(({ path }) => path.startsWith('consumer/src/pipeline/'))
  expect(pipeline).not.toEqual([])
  const outside = pipeline.flatMap(({ path }) =>
    (imports.get(path) ?? []).filter(
      (file) => file.startsWith('consumer/') && !file.startsWith('consumer/src/pipeline/'),
    ),
  )
  expect(outside).toEqual([])
})
