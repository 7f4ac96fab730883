/** A schema registry in a container, in memory. */
import { Container } from '../containers/container.ts'
import { CONFLUENT_API, registryAnswers } from './registry-api.ts'

const PORT = 8080

export async function startContained(): Promise<{ url: string; stop(): Promise<void> }> {
  const { container, ports } = await Container.startOnFreePorts(1, ([port = 0]) => ({
    what: 'schema registry',
    kind: 'registry',
    ports: { [PORT]: port },
  }))
  const url = `http://${container.host}:${ports[0]}${CONFLUENT_API}`
  await container.untilReady(() => registryAnswers(url))
  return { url, stop: () => container.remove() }
}
