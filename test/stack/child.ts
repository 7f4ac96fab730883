/** A program that starts a part, prints the part's processes, directory and address, and then waits until it is killed. */
import { writeSync } from 'node:fs'
import { startClickHouse, startKafka } from '@agent-audit/stack'

const [part, directory] = process.argv.slice(2)
const dataDir = directory === '' ? undefined : directory

/** Starts a server that cannot start, and gives the reason. */
async function startBroken(): Promise<string> {
  const users = [{ name: 'writer', grants: [], settings: { no_such_setting: '1' } }] as const
  return startClickHouse({ dataDir, users }).then(() => 'it started', String)
}

async function startPart(): Promise<{ pids: number[]; directory: string; address: string } | string> {
  if (part === 'broken-clickhouse') return startBroken()
  if (part === 'clickhouse') {
    const server = await startClickHouse({ dataDir, users: [] })
    return { pids: [server.pid], directory: server.dataDir, address: new URL(server.url).host }
  }
  const { nodes, brokers } = await startKafka({ dataDir })
  return {
    pids: nodes.map((node) => node.pid ?? 0),
    directory: nodes[0]?.directory ?? '',
    address: brokers[0] ?? '',
  }
}

writeSync(1, `${JSON.stringify(await startPart())}\n`)
setInterval(() => {}, 60_000)
