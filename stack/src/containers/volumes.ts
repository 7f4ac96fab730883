/**
 * The volumes of data directories. A directory of this machine does not serve as a container's own: the server in it runs as
 * another account. So the data of a directory is in a volume that is named after it, and is removed by a later start once the
 * directory is gone.
 */
import { createHash } from 'node:crypto'
import { existsSync, realpathSync } from 'node:fs'
import { hostname } from 'node:os'
import { openRuntime } from './container.ts'

const DIRECTORY = 'agent-audit.directory'
const HOST = 'agent-audit.host'
const NAME_DIGITS = 16

/** Makes the volume of a directory, unless it is there. @returns Its name, which a container may have as well. */
export async function volumeOf(directory: string, server: string): Promise<string> {
  const path = realpathSync(directory)
  const digest = createHash('sha256').update(`${hostname()}\n${path}`).digest('hex').slice(0, NAME_DIGITS)
  const { dockerode } = (await openRuntime()).container
  await removeUnused(dockerode)
  const Name = `agent-audit-${server}-${digest}`
  await dockerode.createVolume({ Name, Labels: { [DIRECTORY]: path, [HOST]: hostname() } })
  return Name
}

type Engine = Awaited<ReturnType<typeof openRuntime>>['container']['dockerode']

/** Removes the volumes of this machine's directories that are gone. */
async function removeUnused(engine: Engine): Promise<void> {
  const { Volumes } = await engine.listVolumes({ filters: { label: [`${HOST}=${hostname()}`] } })
  for (const { Name, Labels } of Volumes ?? []) {
    const directory = Labels?.[DIRECTORY]
    // A container may still use it; then a later start removes it.
    if (directory !== undefined && !existsSync(directory))
      await engine
        .getVolume(Name)
        .remove()
        .catch(() => undefined)
  }
}
