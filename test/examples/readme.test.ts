/** The program in README.md is complete: it compiles as it is printed, runs, and records the events that it names. */
import { execFile } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { readText, ROOT } from '../architecture/sources.ts'
import { readRows } from '../producer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const run = promisify(execFile)
const programs = [...readText('README.md').matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text)
const TSC = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url))

/** A directory with the program in it, which finds the packages as any program in the repository does. */
function makeProject(program: string): string {
  const directory = makeTempDirectory()
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'))
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(directory, 'readme.ts'), program)
  const compilerOptions = { noEmit: true, composite: false, isolatedDeclarations: false, types: ['node'] }
  const config = {
    extends: join(ROOT, 'tsconfig.base.json'),
    compilerOptions,
    files: ['readme.ts', join(ROOT, 'kafka/src/patches/kafkajs-internals.d.ts')],
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config))
  return directory
}

it('README.md has one program', () => {
  expect(programs).toHaveLength(1)
})

it.each(programs)('the program of README.md compiles, with no undeclared name', async (program) => {
  const project = makeProject(program)
  // tsc reports on standard output, and its exit code makes this reject.
  const { stdout } = await run(process.execPath, [TSC, '-p', project], { cwd: project }).catch(
    (error: unknown) => error as { stdout: string },
  )
  expect(stdout).toBe('')
})

it.each(programs)('the program of README.md runs, and records the call before its result', async (program) => {
  const project = makeProject(program)
  const env = { ...process.env, AUDIT_DATA_DIR: '', KAFKA_BROKERS: '' }
  const flags = ['--conditions=agent-audit-source', '--disable-warning=ExperimentalWarning']
  const { stdout } = await run(process.execPath, [...flags, 'readme.ts'], { cwd: project, env })
  expect(stdout).toBe('Order 7 is on its way.\n')
  const recorded = readRows(join(project, '.audit-data')).map(({ event_type, tool_name, outcome }) => [
    event_type,
    tool_name,
    outcome,
  ])
  expect(recorded.map((parts) => parts.filter(Boolean).join(' '))).toEqual([
    'trail_started',
    'session_start',
    'llm_call',
    'tool_call find_order allowed',
    'tool_result find_order success',
    'session_end success',
    'trail_stopped',
  ])
})
