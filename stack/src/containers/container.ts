/**
 * A server in a container, by Testcontainers: on ports of loopback that it keeps over its starts, and removed when this
 * process ends, however it ends. Import this file when a container is to start, not before: it loads Testcontainers.
 *
 * Each process has its own Ryuk, the container that removes the others once the process's connection to it closes. With one
 * Ryuk for all processes, the containers of a killed process would stay as long as any other process uses containers.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { ClickHouseContainer } from '@testcontainers/clickhouse'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { freePorts } from '@agent-audit/embedded/internal'
import {
  type ContainerRuntimeClient,
  GenericContainer,
  getContainerRuntimeClient,
  getReaper,
  Wait,
} from 'testcontainers'
import { imageOf, type ServerKind } from './images.ts'

const START_TIMEOUT_MS = 120_000
const STOP_GRACE_S = 15
const POLL_MS = 50
const PORT_ATTEMPTS = 3
const LAST_LINES = 15
const NOT_FOUND = 404

/** How long Ryuk waits for its process to come back: no process does. Testcontainers' own value is 10 s. */
const REAPER_WAIT = '1s'

export interface ContainerOrder {
  /** The server, for people: `Kafka node 1`. */
  readonly what: string
  readonly kind: ServerKind
  /** Ports of the container, and those of this machine that lead to them. */
  readonly ports: Readonly<Record<number, number>>
  readonly environment?: Readonly<Record<string, string>> | undefined
  /** Files that the container has at its first start: their paths and texts. */
  readonly files?: Readonly<Record<string, string>> | undefined
  /** The name of the container: any other one of this name is removed. @defaultValue a random one */
  readonly name?: string | undefined
  /** A volume that outlives the container, and where the container sees it. */
  readonly volume?: { readonly name: string; readonly path: string } | undefined
  readonly network?: { readonly name: string; readonly alias: string } | undefined
}

type Runtime = Awaited<ReturnType<ContainerRuntimeClient['container']['create']>>

export class Container {
  /** The name or address under which its ports are reached. */
  readonly host: string
  readonly #what: string
  readonly #runtime: Runtime

  private constructor(what: string, host: string, runtime: Runtime) {
    this.#what = what
    this.host = host
    this.#runtime = runtime
  }

  /** Another process may take a free port between its choice and its use: then the container starts once more, on other ports. */
  static async startOnFreePorts(
    count: number,
    order: (ports: readonly number[]) => ContainerOrder,
  ): Promise<{ container: Container; ports: readonly number[] }> {
    for (let attempt = 1; ; attempt++) {
      const ports = await freePorts(count)
      try {
        return { container: await Container.start(order(ports)), ports }
      } catch (error) {
        if (!isPortTaken(error) || attempt === PORT_ATTEMPTS) throw error
      }
    }
  }

  /** Starts a container, without waiting for its server. */
  static async start(order: ContainerOrder): Promise<Container> {
    try {
      const client = await openRuntime()
      if (order.name !== undefined) await removeNamed(client, order.name)
      const { host } = client.info.containerRuntime
      const started = await configure(order, host === 'localhost').start()
      return new Container(order.what, addressOf(host), client.container.getById(started.getId()))
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error)
      throw new AuditUnavailableError(
        'PART_UNAVAILABLE',
        `${order.what}: container of ${imageOf(order.kind)}: ${cause}`,
        {
          cause: error,
        },
      )
    }
  }

  /** Waits until its server is ready. A container that ends before, or is not ready in 2 minutes, is removed. */
  async untilReady(isReady: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS
    while (!(await isReady())) {
      const { State } = await this.#runtime.inspect()
      if (State.Running && Date.now() < deadline) {
        await sleep(POLL_MS)
        continue
      }
      const how = State.Running ? `did not answer within ${START_TIMEOUT_MS / 1000} s` : 'ended at its start'
      const said = await this.#lastLines()
      await this.remove()
      throw new AuditUnavailableError('PART_UNAVAILABLE', `${this.#what} in a container ${how}:\n${said}`)
    }
  }

  /** Starts it again after {@link kill} or {@link stop}, with its data and its ports. */
  async restart(): Promise<void> {
    await this.#runtime.start()
  }

  async isRunning(): Promise<boolean> {
    return (await this.#runtime.inspect()).State.Running
  }

  /** A crash: SIGKILL. */
  async kill(): Promise<void> {
    if (await this.isRunning()) await this.#runtime.kill()
  }

  async pause(): Promise<void> {
    await this.#runtime.pause()
  }

  async resume(): Promise<void> {
    await this.#runtime.unpause()
  }

  /** SIGTERM, and SIGKILL after 15 s. It keeps its data until {@link remove}. */
  async stop(): Promise<void> {
    const { State } = await this.#runtime.inspect()
    // A paused process receives SIGTERM only once it is resumed.
    if (State.Paused) await this.#runtime.unpause()
    if (State.Running) await this.#runtime.stop({ t: STOP_GRACE_S })
  }

  /** Stops it, and removes it with its temporary volumes. */
  async remove(): Promise<void> {
    try {
      await this.stop()
      await this.#runtime.remove({ v: true, force: true })
    } catch (error) {
      // The next container of its name has removed it.
      if (!isGone(error)) throw error
    }
  }

  async #lastLines(): Promise<string> {
    const output = await this.#runtime.logs({ stdout: true, stderr: true, tail: LAST_LINES })
    return textOf(output).trim()
  }
}

let opening: Promise<ContainerRuntimeClient> | undefined

/** The engine, with this process's Ryuk beside it. */
export function openRuntime(): Promise<ContainerRuntimeClient> {
  opening ??= (async () => {
    process.env['TESTCONTAINERS_RYUK_RECONNECTION_TIMEOUT'] ??= REAPER_WAIT
    const client = await getContainerRuntimeClient()
    // Two containers that start at once would each start one.
    await getReaper(client)
    return client
  })()
  return opening
}

/** Whether a container's start failed since another process has its port. */
export function isPortTaken(error: unknown): boolean {
  return /port is already allocated|address already in use/i.test(String(error))
}

async function removeNamed(client: ContainerRuntimeClient, name: string): Promise<void> {
  try {
    await client.container.getById(name).remove({ v: true, force: true })
  } catch (error) {
    if (!isGone(error)) throw error
  }
}

function isGone(error: unknown): boolean {
  return (error as { statusCode?: number }).statusCode === NOT_FOUND
}

/** `localhost` may stand for an address of IPv6, at which no port of a container listens. */
function addressOf(host: string): string {
  return host === 'localhost' ? '127.0.0.1' : host
}

function configure(order: ContainerOrder, onThisMachine: boolean): GenericContainer {
  const image = imageOf(order.kind)
  const container =
    order.kind === 'clickhouse'
      ? // Else its image starts twice: once to make a database.
        new ClickHouseOnLoopback(image, onThisMachine).withDatabase('')
      : new OnLoopback(image, onThisMachine)
  container
    .withExposedPorts(...Object.entries(order.ports).map(([inside, host]) => ({ container: Number(inside), host })))
    .withEnvironment({ ...order.environment })
    .withCopyContentToContainer(
      Object.entries(order.files ?? {}).map(([target, content]) => ({ target, content, mode: 0o644 })),
    )
    // The server is asked in its own protocol.
    .withWaitStrategy(Wait.forAll([]))
  if (order.name !== undefined) container.withName(order.name)
  if (order.volume !== undefined) {
    container.withBindMounts([{ source: order.volume.name, target: order.volume.path }])
  }
  if (order.network !== undefined) container.withNetworkMode(order.network.name).withNetworkAliases(order.network.alias)
  return container
}

/** Publishes its ports on loopback alone, unless the engine is on another machine. */
class OnLoopback extends GenericContainer {
  readonly #applies: boolean

  constructor(image: string, applies: boolean) {
    super(image)
    this.#applies = applies
  }

  protected override beforeContainerCreated(): Promise<void> {
    if (this.#applies) bindToLoopback(this.hostConfig.PortBindings)
    return Promise.resolve()
  }
}

class ClickHouseOnLoopback extends ClickHouseContainer {
  readonly #applies: boolean

  constructor(image: string, applies: boolean) {
    super(image)
    this.#applies = applies
  }

  protected override beforeContainerCreated(): Promise<void> {
    if (this.#applies) bindToLoopback(this.hostConfig.PortBindings)
    // Testcontainers asks for more open files than some engines may give; the engine's default is enough here.
    this.hostConfig.Ulimits = []
    return Promise.resolve()
  }
}

function bindToLoopback(bindings: unknown): void {
  for (const ports of Object.values(bindings ?? {})) {
    for (const binding of ports as { HostIp?: string }[]) binding.HostIp = '127.0.0.1'
  }
}

const FRAME_HEADER_BYTES = 8

/** The text of a container's log: frames, each with a header that ends in its length. */
function textOf(log: Buffer): string {
  let text = ''
  for (let offset = 0; offset + FRAME_HEADER_BYTES <= log.length;) {
    const start = offset + FRAME_HEADER_BYTES
    const end = start + log.readUInt32BE(offset + FRAME_HEADER_BYTES - 4)
    text += log.toString('utf8', start, end)
    offset = end
  }
  return text
}
