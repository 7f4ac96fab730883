/** The checker in Python, which shares no code with ours, gives the same verdict on every bundle. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { formatBundle } from '@agent-audit/seals/evidence'
import { afterAll, describe, expect, it } from 'vitest'
import { bundleOf, recordSealedSessions, trustOf } from '../../support/evidence.ts'
import { evidenceCases } from '../../support/evidence-cases.ts'
import { bundleCases } from './bundle-cases.ts'
import { findPython } from './python.ts'

const CHECKER = fileURLToPath(new URL('../../../examples/check_evidence.py', import.meta.url))
const MAX_LINES = 250
const found = findPython()
if (found.missing !== undefined) process.stderr.write(`the checker in Python does not run: ${found.missing}\n`)

const directory = mkdtempSync(join(tmpdir(), 'evidence-test-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** Runs the command for each case of a file of JSON lines, in one process. */
const DRIVER = `import sys, json, io, contextlib
sys.path.insert(0, sys.argv[1])
from check_evidence import main
for line in open(sys.argv[2]):
    sys.argv[1:], out, code = json.loads(line), io.StringIO(), None
    try:
        with contextlib.redirect_stdout(out):
            main()
    except SystemExit as end:
        code = end.code
    print(json.dumps([out.getvalue().split("\\n")[0], code]))
`

interface Given {
  readonly bytes: Buffer
  readonly trust?: string | undefined
  readonly root?: string | undefined
  readonly checkpoint?: string | undefined
}

function written(name: string, content: string | Buffer): string {
  const file = join(directory, name)
  writeFileSync(file, content)
  return file
}

/** The verdict and the exit code of each. */
function verdictsOf(python: string, cases: readonly Given[]): [string, number][] {
  const lines = cases.map(({ bytes, trust, root, checkpoint }, index) => {
    const args = [
      written(`${index}.evidence`, bytes),
      ...(trust === undefined ? [] : ['--trust', written(`${index}.trust`, trust)]),
      ...(root === undefined ? [] : ['--root', root]),
      ...(checkpoint === undefined ? [] : ['--checkpoint', written(`${index}.checkpoint`, checkpoint)]),
    ]
    return JSON.stringify(args)
  })
  const list = written('cases', lines.join('\n'))
  const options = { encoding: 'utf8', env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } } as const
  const out = execFileSync(python, ['-c', DRIVER, join(CHECKER, '..'), list], options)
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as [string, number])
}

function runChecker(python: string, ...args: string[]): string {
  return execFileSync(python, ['-B', CHECKER, ...args], { encoding: 'utf8', stdio: 'pipe' })
}

it(`has at most ${MAX_LINES} lines`, () => {
  expect(readFileSync(CHECKER, 'utf8').split('\n').length - 1).toBeLessThanOrEqual(MAX_LINES)
})

describe.skipIf(found.missing !== undefined)(`the checker in Python ${found.missing ?? ''}`, async () => {
  const python = found.missing === undefined ? found.python : ''
  const log = await recordSealedSessions(join(directory, 'data'))

  it('gives the verdict of each case', () => {
    const cases = evidenceCases(log)
    const verdicts = verdictsOf(python, cases)
    expect(cases.map(({ name }, index) => [name, verdicts[index]?.[0]])).toEqual(
      cases.map(({ name, verdict }) => [name, verdict]),
    )
  })

  it('gives verdict and exit code of each bundle of the conformance vectors', () => {
    const cases = bundleCases()
    const verdicts = verdictsOf(python, cases)
    expect(cases.map(({ what }, index) => [what, ...(verdicts[index] ?? [])])).toEqual(
      cases.map(({ what, verdict, exitCode }) => [what, verdict, exitCode]),
    )
  })

  it('is a command with these exit codes', () => {
    const [file, trust] = [join(directory, 'short.evidence'), join(directory, 'trust.txt')]
    writeFileSync(file, formatBundle(bundleOf(log, 'short')))
    writeFileSync(trust, trustOf(log))
    expect(runChecker(python, file, '--trust', trust)).toBe('verified\n')
    expect(() => runChecker(python, file)).toThrow(expect.objectContaining({ status: 3 }) as Error)
    expect(() => runChecker(python, join(directory, 'missing'))).toThrow(
      expect.objectContaining({ status: 64 }) as Error,
    )
  })
})
