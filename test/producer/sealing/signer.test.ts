/** A trail whose key is with a signer in another process. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TrailError } from '@agent-audit/producer'
import { openKeyFile } from '@agent-audit/seals'
import { SignerService } from '@agent-audit/seals/signer-service'
import { openEmbeddedLog } from '@agent-audit/spool'
import { afterEach, expect, it, onTestFinished, vi } from 'vitest'
import { checkSeals, newKey, readMessages, type SealedRun, type TestKey } from '../../support/sealed-runs.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { startChildWith } from '../process/run-program.ts'
import { openTrail } from '../support.ts'

const TOPIC = 'audit.events'
const KILL_AT = new URL('kill-at.ts', import.meta.url)
const NOTHING_WRONG = { faults: [], unsealed: [], sealedTwice: [], missing: [], gaps: [] }

afterEach(() => void vi.unstubAllEnvs())

function check(dataDir: string, keys: readonly TestKey[]): Map<string, SealedRun> {
  return checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), keys)
}

/** A key, and the socket at which `start` lets a signer listen. */
function prepare(name: string): { key: TestKey; socket: string; start: (intervalMs: number) => Promise<void> } {
  const directory = makeTempDirectory()
  const key = newKey(name)
  const keyFile = join(directory, 'key')
  writeFileSync(keyFile, key.pem, { mode: 0o600 })
  const socket = join(directory, 'run', 'signer.sock')
  const start = async (intervalMs: number): Promise<void> => {
    const signer = openKeyFile(keyFile)
    const service = await SignerService.start({
      signer,
      socketPath: socket,
      stateFile: join(directory, 'state'),
      intervalMs,
    })
    onTestFinished(() => service.close())
  }
  return { key, socket, start }
}

it('events go on while the signer is away, and are sealed by few large seals once it is there', async () => {
  const dataDir = makeTempDirectory()
  const { key, socket, start } = prepare('agent-1')
  const problems: TrailError[] = []
  const trail = openTrail({ dataDir, signing: { socket }, onProblem: (problem) => problems.push(problem) })
  const session = trail.startSession()
  for (let index = 0; index < 5000; index++) session.decision({ reasoning: `${index}` })
  await trail.flush()
  await expect.poll(() => problems.map(({ code }) => code)).toContain('SIGNER_UNAVAILABLE')
  expect(readMessages(dataDir, `${TOPIC}.seals`)).toEqual([])
  await start(50)
  await expect.poll(() => readMessages(dataDir, `${TOPIC}.seals`).length).toBeGreaterThan(1)
  await trail.close()
  const run = check(dataDir, [key]).get(trail.runId)
  expect(run).toMatchObject(NOTHING_WRONG)
  expect(run?.records).toHaveLength(5003)
  expect(run?.states).toMatch(/^(open )+closed$/)
  expect(run?.seals.length).toBeLessThan(6)
})

it('a process that is killed before it has stored what the signer signed: the next owner takes that seal', async () => {
  const dataDir = makeTempDirectory()
  const log = openEmbeddedLog({ directory: dataDir })
  log.createTopic(TOPIC, 4)
  log.close()
  const { key, socket, start } = prepare('child')
  await start(10)
  vi.stubEnv('AUDIT_SIGNER_SOCKET', socket)
  vi.stubEnv('KILL_AT', '1 INSERT INTO seal ')
  expect(await startChildWith({ module: KILL_AT }, 'record-until-killed', dataDir).exited()).toMatchObject({
    signal: 'SIGKILL',
  })
  const trail = openTrail({ agentId: 'child', dataDir })
  await expect.poll(() => trail.stats().connected && trail.stats().spoolBytes).toBeLessThan(1)
  await trail.close()
  const runs = [...check(dataDir, [key])].filter(([runId]) => runId !== trail.runId).map(([, run]) => run)
  expect(runs).toEqual([expect.objectContaining(NOTHING_WRONG)])
  expect(runs[0]?.states).toMatch(/^open (adopted )*adopted$/)
})

it('a signer with the key of another producer is named', async () => {
  const { socket, start } = prepare('another')
  await start(10)
  const problems: TrailError[] = []
  const trail = openTrail({
    dataDir: makeTempDirectory(),
    signing: { socket },
    onProblem: (problem) => problems.push(problem),
  })
  trail.startSession()
  await expect
    .poll(() => problems.map(({ code, message }) => `${code} ${message}`))
    .toContainEqual(expect.stringMatching(/^KEY_INVALID the signer at .* has the key of "another", not of "agent-1"$/))
})
