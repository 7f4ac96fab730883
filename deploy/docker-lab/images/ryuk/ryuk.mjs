/**
 * Removes what a test run left behind, by Ryuk's protocol: a client connects to port 8080, writes lines of filters such as
 * `label=org.testcontainers.session-id=…` (several joined by `&`), and gets `ACK` for each. Its open connection means that the
 * run lives. When the last connection has been closed for RYUK_RECONNECTION_TIMEOUT (or none came within
 * RYUK_CONNECTION_TIMEOUT), everything that matches one of the filters is removed, and the reaper ends.
 */
import { request } from 'node:http'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'

const SOCKET = '/var/run/docker.sock'
const OWN_LABEL = 'org.testcontainers.ryuk'
const CONNECTION_TIMEOUT_MS = milliseconds(process.env.RYUK_CONNECTION_TIMEOUT, 60_000)
const RECONNECTION_TIMEOUT_MS = milliseconds(process.env.RYUK_RECONNECTION_TIMEOUT, 10_000)

/** Each as the engine takes it: `{ label: ['a=b', 'c=d'] }`. */
const filters = new Map()
let clients = 0
let reaping = setTimeout(() => void reap(), CONNECTION_TIMEOUT_MS)

const server = createServer((client) => {
  clients++
  clearTimeout(reaping)
  client.on('error', () => {})
  createInterface({ input: client, crlfDelay: Number.POSITIVE_INFINITY }).on('line', (line) => {
    if (line.trim() === '') return
    const filter = {}
    for (const [name, value] of new URLSearchParams(line.trim())) (filter[name] ??= []).push(value)
    filters.set(line.trim(), filter)
    client.write('ACK\n')
  })
  client.on('close', () => {
    clients--
    if (clients === 0) reaping = setTimeout(() => void reap(), RECONNECTION_TIMEOUT_MS)
  })
})
server.listen(Number(process.env.RYUK_PORT ?? 8080), () => process.stdout.write('Started\n'))
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))

async function reap() {
  server.close()
  const removed = { containers: 0, networks: 0, volumes: 0, images: 0 }
  for (const filter of filters.values()) await removeMatching(filter, removed)
  process.stdout.write(`Removed ${JSON.stringify(removed)}\n`)
  process.exit(0)
}

async function removeMatching(filter, removed) {
  const query = `filters=${encodeURIComponent(JSON.stringify(filter))}`
  for (const { Id, Labels } of (await engine('GET', `/containers/json?all=1&${query}`)) ?? [])
    if (Labels?.[OWN_LABEL] !== 'true') removed.containers += await remove(`/containers/${Id}?force=1&v=1`)
  for (const { Id } of (await engine('GET', `/networks?${query}`)) ?? [])
    removed.networks += await remove(`/networks/${Id}`)
  for (const { Name } of (await engine('GET', `/volumes?${query}`))?.Volumes ?? [])
    removed.volumes += await remove(`/volumes/${Name}?force=1`)
  for (const { Id } of (await engine('GET', `/images/json?${query}`)) ?? [])
    removed.images += await remove(`/images/${Id}?force=1`)
}

async function remove(path) {
  return engine('DELETE', path).then(
    () => 1,
    (error) => {
      process.stderr.write(`${String(error)}\n`)
      return 0
    },
  )
}

function engine(method, path) {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: SOCKET, method, path }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (part) => (body += part))
      response.on('end', () => {
        const { statusCode = 0 } = response
        if (statusCode >= 400) reject(new Error(`${method} ${path}: ${statusCode} ${body.trim()}`))
        else resolve(body === '' ? undefined : JSON.parse(body))
      })
    })
    asked.on('error', reject).end()
  })
}

/** Of a duration such as `10s`, `1m` or `500ms`. */
function milliseconds(text, otherwise) {
  const [, amount, unit] = /^(\d+)(ms|s|m)$/.exec(text ?? '') ?? []
  return amount === undefined ? otherwise : Number(amount) * { ms: 1, s: 1000, m: 60_000 }[unit]
}
