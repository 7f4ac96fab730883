/** The repository as the architecture tests see it: its packages, their files, and what each file imports. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url))

export const PACKAGES = [
  'schemas',
  'seals',
  'erasure',
  'spool',
  'kafka',
  'producer',
  'consumer',
  'analytics',
  'detect',
  'notary',
  'cli',
  'embedded',
  'stack',
  'start',
] as const
export type Package = (typeof PACKAGES)[number]

export interface Import {
  /** As written: `node:fs`, `./errors.ts`, `kafkajs/src/network`. */
  readonly specifier: string
  /** Type imports vanish at run time; dynamic ones load when they are reached. */
  readonly kind: 'static' | 'type' | 'dynamic'
}

export interface SourceFile {
  /** From the root of the repository, such as `spool/src/chunk.ts`. */
  readonly path: string
  readonly text: string
  readonly imports: readonly Import[]
}

/** TypeScript files below a folder of the repository. */
export function filesBelow(folder: string): SourceFile[] {
  const names = readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
  const own = names.filter((name) => name.endsWith('.ts') && !/(^|\/)(node_modules|dist)\//.test(name))
  return own.toSorted().map((name) => {
    const path = `${folder}/${name}`
    const text = readText(path)
    return { path, text, imports: importsOf(text) }
  })
}

export function readText(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8')
}

/** Name of the package of a specifier: `@scope/name` or `name`, without a path inside of it. */
export function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** Whether a specifier names a package, not a file or a module of Node. */
export function isPackage(specifier: string): boolean {
  return !specifier.startsWith('.') && !specifier.startsWith('node:')
}

const STATEMENT = /^\s*(?:import|export)\s(type\s)?[^'";]*?from\s+'([^']+)'|^\s*import\s+'([^']+)'/gm
const CALL = /\bimport\(\s*'([^']+)'\s*\)/g
/** A `require` of createRequire, under either of its names in these sources. */
const REQUIRED = /\b(?:require|load)\('([^']+)'\)/g

function importsOf(source: string): Import[] {
  const text = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
  const statements = [...text.matchAll(STATEMENT)].map(([, type, from, bare]): Import => ({
    specifier: from ?? bare ?? '',
    kind: type === undefined ? 'static' : 'type',
  }))
  const calls = [...text.matchAll(CALL), ...text.matchAll(REQUIRED)].map(([, specifier = '']): Import => ({
    specifier,
    kind: 'dynamic',
  }))
  return [...statements, ...calls]
}
