/** The arrows between packages, as docs/architecture.md draws them. */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { filesBelow, isPackage, type Package, packageOf, PACKAGES, readText, ROOT } from './sources.ts'

const OWN = '@agent-audit/'
/** The packages that a package may import beside Node. */
const ARROWS: Record<Package, readonly string[]> = {
  schemas: ['avsc', 'zod'],
  seals: ['@agent-audit/schemas'],
  erasure: ['@agent-audit/schemas', '@agent-audit/seals'],
  spool: ['@agent-audit/schemas'],
  kafka: ['@agent-audit/schemas', 'kafkajs', 'zod'],
  producer: [
    '@agent-audit/erasure',
    '@agent-audit/kafka',
    '@agent-audit/schemas',
    '@agent-audit/seals',
    '@agent-audit/spool',
    '@anthropic-ai/sdk',
    'canonicalize',
    'zod',
  ],
  consumer: [
    '@agent-audit/kafka',
    '@agent-audit/schemas',
    '@agent-audit/seals',
    '@agent-audit/spool',
    '@clickhouse/client',
    '@platformatic/wasm-utils',
    'pino',
    'prom-client',
    'zod',
  ],
  analytics: ['@agent-audit/erasure', '@agent-audit/schemas', '@agent-audit/seals', '@clickhouse/client', 'hyparquet'],
  detect: ['@agent-audit/analytics', '@agent-audit/kafka', '@agent-audit/schemas'],
  notary: ['@agent-audit/analytics', '@agent-audit/kafka', '@agent-audit/schemas', '@agent-audit/seals', 'aws4fetch'],
  cli: [
    '@agent-audit/analytics',
    '@agent-audit/consumer',
    '@agent-audit/detect',
    '@agent-audit/erasure',
    '@agent-audit/kafka',
    '@agent-audit/notary',
    '@agent-audit/producer',
    '@agent-audit/schemas',
    '@agent-audit/seals',
    'commander',
    'prom-client',
  ],
  embedded: ['@agent-audit/analytics', '@agent-audit/schemas', 'ffi-rs'],
  stack: ['@agent-audit/embedded', '@agent-audit/schemas', '@testcontainers/clickhouse', 'testcontainers'],
  start: [
    '@agent-audit/analytics',
    '@agent-audit/consumer',
    '@agent-audit/embedded',
    '@agent-audit/kafka',
    '@agent-audit/producer',
    '@agent-audit/schemas',
    '@agent-audit/stack',
  ],
}
/** The embedded ClickHouse is an optional peer dependency of the command, which loads it only for --data-dir. */
const ONLY_DYNAMIC: Partial<Record<Package, string>> = { cli: '@agent-audit/embedded' }
const MAX_LINES = 300

interface Manifest {
  private?: boolean
  devDependencies?: Record<string, string>
  exports?: Record<string, unknown>
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

/** Whether one of our packages has this entry in its exports: `@agent-audit/producer`, `@agent-audit/producer/replay`. */
function isEntry(specifier: string): boolean {
  const name = packageOf(specifier)
  const { exports = {} } = JSON.parse(readText(`${name.slice(OWN.length)}/package.json`)) as Manifest
  return `.${specifier.slice(name.length)}` in exports
}

describe.each(PACKAGES)('%s', (name) => {
  const files = filesBelow(`${name}/src`)
  const imported = files.flatMap(({ path, imports }) =>
    imports.filter(({ specifier }) => isPackage(specifier)).map((found) => ({ path, ...found })),
  )
  const manifest = JSON.parse(readText(`${name}/package.json`)) as Manifest
  const declared = Object.keys({
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.peerDependencies,
    // A package that is never installed, only linked here.
    ...(manifest.private === true ? manifest.devDependencies : {}),
  })

  it('imports only what its arrows allow', () => {
    const allowed = new Set(ARROWS[name])
    const wrong = imported.filter(
      ({ specifier, kind }) =>
        !allowed.has(packageOf(specifier)) && !(specifier === ONLY_DYNAMIC[name] && kind !== 'static'),
    )
    expect(wrong).toEqual([])
  })

  it('reaches its own files by path, the others by their entries', () => {
    const wrong = imported.filter(({ specifier }) => specifier.startsWith(OWN) && !isEntry(specifier))
    const paths = files.flatMap(({ path, imports }) =>
      imports.flatMap(({ specifier }) => (specifier.startsWith('.') ? [{ path, specifier }] : [])),
    )
    const outside = paths.filter(
      ({ path, specifier }) => !new URL(specifier, `file:///${path}`).pathname.startsWith(`/${name}/src/`),
    )
    expect([...wrong, ...outside]).toEqual([])
  })

  it('declares what it imports', () => {
    const needed = new Set(imported.map(({ specifier }) => packageOf(specifier)))
    expect([...needed].filter((each) => each !== ONLY_DYNAMIC[name] && !declared.includes(each))).toEqual([])
  })

  it('uses what it declares', () => {
    // Any mention counts: a package may be found by its name at run time, as the embedded library is.
    const unused = declared.filter((each) => !files.some(({ text }) => text.includes(`'${each}`)))
    expect(unused).toEqual([])
  })

  it(`has no file above ${MAX_LINES} lines`, () => {
    const long = files.filter(({ text }) => text.split('\n').length - 1 > MAX_LINES)
    expect(long.map(({ path }) => path)).toEqual([])
  })
})

const sources = PACKAGES.flatMap((name) => filesBelow(`${name}/src`))

function importersOf(name: string): string[] {
  const files = sources.filter(({ imports }) => imports.some(({ specifier }) => packageOf(specifier) === name))
  return files.map(({ path }) => path)
}

it('kafkajs is known to kafka/ alone', () => {
  const importers = importersOf('kafkajs')
  expect(importers).toContain('kafka/src/kafka-sender.ts')
  expect(importers.filter((path) => !path.startsWith('kafka/src/'))).toEqual([])
})

it.each(['@agent-audit/kafka', '@agent-audit/kafka/sender'])('importing %s loads no kafkajs', (specifier) => {
  expect(loadedBy(specifier).filter((file) => file.includes('kafkajs'))).toEqual([])
})

it('importing @agent-audit/kafka/source loads kafkajs', () => {
  expect(loadedBy('@agent-audit/kafka/source').filter((file) => file.includes('kafkajs'))).not.toEqual([])
})

/** The CommonJS files that a process has loaded after an import, kafkajs's among them. */
function loadedBy(specifier: string): string[] {
  const script = `
    await import('${specifier}')
    const { createRequire } = await import('node:module')
    console.log(JSON.stringify(Object.keys(createRequire(import.meta.url).cache)))`
  const args = ['--conditions=agent-audit-source', '--input-type=module', '--eval', script]
  return JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })) as string[]
}

it('the Anthropic SDK is known by its types alone: an agent without it need not install it', () => {
  const imported = sources.flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier, kind }) => (packageOf(specifier) === '@anthropic-ai/sdk' ? [{ path, kind }] : [])),
  )
  expect(imported).not.toEqual([])
  expect(imported.filter(({ path, kind }) => kind !== 'type' || !path.startsWith('producer/src/anthropic/'))).toEqual(
    [],
  )
})

it('@clickhouse/client is known to one file of the consumer and one of analytics', () => {
  expect(importersOf('@clickhouse/client')).toEqual([
    'consumer/src/store/clickhouse-sink.ts',
    'analytics/src/connection/clickhouse.ts',
  ])
})

it('the internal entry of embedded is for the private packages alone', () => {
  const importers = sources.filter(({ imports }) =>
    imports.some(({ specifier }) => specifier === '@agent-audit/embedded/internal'),
  )
  expect(importers).not.toEqual([])
  expect(importers.map(({ path }) => path).filter((path) => !/^(stack|start)\//.test(path))).toEqual([])
})

it.each(['test', 'bench', 'examples'])('%s goes through public entries', (folder) => {
  const wrong = filesBelow(folder).flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier }) =>
      /(^|\/)src\/|dist\//.test(specifier) && !specifier.startsWith('kafkajs/') ? [{ path, specifier }] : [],
    ),
  )
  expect(wrong).toEqual([])
})
