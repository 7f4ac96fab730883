/** `npm start` with Kafka and ClickHouse in containers, as on a machine where neither runs otherwise. */
import { SERVER_KINDS, sourceOf } from '@agent-audit/stack'
import { getContainerRuntimeClient } from 'testcontainers'
import { describe, expect, it } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { launch, start, summaryOf } from './support.ts'

const NO_CONTAINERS = SERVER_KINDS.every((kind) => sourceOf(kind) === 'containers')
  ? ''
  : '(skipped: needs a Docker engine with the images; npm run test:containers gets them)'
const CONTAINERS = { AUDIT_SERVERS: 'containers' }

/** Names of the running containers that publish one of these ports. */
async function containersAt(ports: readonly number[]): Promise<string[]> {
  const { container } = await getContainerRuntimeClient()
  const found = await container.dockerode.listContainers()
  return found
    .filter(({ Ports }) => Ports.some(({ PublicPort }) => ports.includes(PublicPort)))
    .flatMap(({ Names }) => Names)
}

function portsOf(stderr: string): number[] {
  return [...stderr.matchAll(/(?:Kafka|ClickHouse) at 127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port))
}

describe.skipIf(NO_CONTAINERS !== '')(`npm start in containers ${NO_CONTAINERS}`, { timeout: 600_000 }, () => {
  it('stores every event, shows the trail, and goes on with its data at the next start', async () => {
    const dataDir = makeTempDirectory()
    const args = ['--data-dir', dataDir, '--kafka', '--sessions', '5', '--json']
    const first = await start(args, CONTAINERS)
    expect(first).toMatchObject({ exitCode: 0 })
    expect(first.stdout).toMatch(/^session \S+ · agent/m)
    expect(first.stdout).toContain('ClickHouse ran in a container, which ends now')
    const { accepted, stored } = summaryOf(first)
    expect(stored).toBe(accepted)
    expect(portsOf(first.stderr)).toHaveLength(2)
    expect(await containersAt(portsOf(first.stderr))).toEqual([])
    // The topic and the tables are there, and the consumer's position is not at the start.
    const second = await start(args, CONTAINERS)
    expect(second).toMatchObject({ exitCode: 0 })
    expect(summaryOf(second)).toMatchObject({ duplicates: 0, dead_letters: 0 })
  })

  it('ends its containers on Ctrl-C', async () => {
    const running = launch(['--data-dir', makeTempDirectory(), '--sessions', '100000', '--json'], CONTAINERS)
    await running.said(/ [1-9][\d,]* stored/)
    running.child.kill('SIGINT')
    const { exitCode, stderr } = await running.ended
    expect(exitCode).toBe(130)
    expect(portsOf(stderr)).toHaveLength(1)
    expect(await containersAt(portsOf(stderr))).toEqual([])
  })
})
