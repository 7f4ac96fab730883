/**
 * Reads the provisioning files as Grafana does: data sources, providers of dashboards, and the dashboards in their folders.
 * A mistake in them is one line and the end (exit code 1). It serves:
 *   /api/health    as Grafana
 *   /lab/panels    each panel's queries, run on the data source that they name: `[{ dashboard, panel, expr, error? }]`
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { parse } from 'yaml'

const PROVISIONING = process.env.GF_PATHS_PROVISIONING ?? '/etc/grafana/provisioning'
const PORT = Number(process.env.GF_SERVER_HTTP_PORT ?? 3000)
/** Those that a dashboard may name without provisioning. */
const BUILT_IN = new Set(['-- Grafana --', '-- Mixed --', '-- Dashboard --', 'grafana', '-1'])

const problems = []
const sources = provisioned('datasources').flatMap(([file, { datasources }]) =>
  (datasources ?? []).filter((source) => has(source, ['name', 'type', 'url'], file)),
)
const dashboards = provisioned('dashboards').flatMap(([file, { providers }]) =>
  (providers ?? []).flatMap((provider) =>
    has(provider, ['name', 'options'], file) ? readDashboards(provider.options.path) : [],
  ),
)
const uids = dashboards.map(({ uid }) => uid)
if (new Set(uids).size < uids.length) problems.push(`two dashboards have the same uid: ${uids.join(', ')}`)
if (sources.length === 0) problems.push(`${PROVISIONING}/datasources names no data source`)
if (dashboards.length === 0) problems.push(`${PROVISIONING}/dashboards leads to no dashboard`)
const queries = dashboards.flatMap(queriesOf)
if (problems.length > 0) {
  process.stderr.write(problems.map((problem) => `grafana stand-in: ${problem}\n`).join(''))
  process.exit(1)
}

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
createServer((request, response) => {
  answer(request.url).then(
    (body) => response.writeHead(body === undefined ? 404 : 200).end(JSON.stringify(body ?? {})),
    (error) => response.writeHead(500).end(String(error)),
  )
}).listen(PORT, () => {
  process.stdout.write(`${sources.length} data sources, ${dashboards.length} dashboards, ${queries.length} queries\n`)
})

async function answer(url) {
  if (url === '/api/health') return { database: 'ok', version: 'stand-in' }
  if (url === '/lab/panels') return Promise.all(queries.map(runQuery))
  return undefined
}

async function runQuery({ dashboard, panel, expr, source }) {
  const query = expr
    .replaceAll(/\$(__rate_interval|__interval|__range)|\$\{(__rate_interval|__interval|__range)\}/g, '5m')
    .replaceAll(/\$\w+|\$\{\w+(:\w+)?\}/g, '.*')
  try {
    const response = await fetch(`${source.url}/api/v1/query?query=${encodeURIComponent(query)}`)
    const { status, error } = await response.json()
    return status === 'success' ? { dashboard, panel, expr } : { dashboard, panel, expr, error }
  } catch (error) {
    return { dashboard, panel, expr, error: String(error.cause ?? error) }
  }
}

function queriesOf({ title, panels = [] }) {
  const all = panels.flatMap((panel) => [panel, ...(panel.panels ?? [])])
  return all.flatMap(({ title: panel, datasource, targets = [] }) =>
    targets
      .filter(({ expr }) => typeof expr === 'string')
      .map(({ expr, datasource: own }) => ({
        dashboard: title,
        panel,
        expr,
        source: sourceOf(own ?? datasource, panel),
      })),
  )
}

/** A variable such as `${datasource}` stands for the first data source of its type. */
function sourceOf(named, panel) {
  const uid = typeof named === 'string' ? named : named?.uid
  if (uid === undefined) return sources.find(({ isDefault }) => isDefault) ?? sources[0]
  if (uid.startsWith('$')) return sources.find(({ type }) => type === (named.type ?? type))
  const found = sources.find((source) => source.uid === uid || source.name === uid)
  if (found === undefined && !BUILT_IN.has(uid))
    problems.push(`panel "${panel}" names data source ${uid}, which is not provisioned`)
  return found
}

function readDashboards(folder) {
  if (!existsSync(folder)) {
    problems.push(`a provider names ${folder}, which is not there`)
    return []
  }
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.json'))
  return files.flatMap((name) => {
    const dashboard = read(join(folder, name), JSON.parse)
    return has(dashboard, ['title', 'uid', 'panels', 'schemaVersion'], name) ? [dashboard] : []
  })
}

function provisioned(kind) {
  const folder = join(PROVISIONING, kind)
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /\.ya?ml$/.test(name)) : []
  return names
    .map((name) => [name, read(join(folder, name), parse)])
    .filter(([name, file]) => has(file, ['apiVersion'], name))
}

function read(path, parser) {
  try {
    return parser(readFileSync(path, 'utf8'))
  } catch (error) {
    problems.push(`${path}: ${error.message}`)
    return undefined
  }
}

function has(object, names, file) {
  if (object === undefined) return false
  const missing = names.filter((name) => object?.[name] === undefined)
  if (missing.length > 0) problems.push(`${file}: ${missing.join(', ')} missing`)
  return missing.length === 0
}
