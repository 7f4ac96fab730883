/** Alerts and dashboard ask for what the code exports, and each alert leads to a page that says what to do. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCli } from '@agent-audit/cli'
import { serveHttp } from '@agent-audit/consumer'
import { type AuditTrail, createAuditTrail } from '@agent-audit/producer'
import { generateKey, signerFromPem } from '@agent-audit/seals'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parse } from 'yaml'
import { prometheusText } from '../../examples/telemetry.ts'
import { environmentOf, openEmbedded, openStore, runConsumer } from '../consumer/support.ts'
import { connectKafka, makeTopic } from '../support/kafka-topic.ts'
import { encodeRun } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { readExpression } from './promql.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook_url: string }
}
interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}

const RULES = parse(read('deploy/prometheus/rules/agent-audit.yml')) as { groups: { rules: Alert[] }[] }
const ALERTS = RULES.groups.flatMap(({ rules }) => rules)
const DASHBOARD_TEXT = read('deploy/grafana/dashboards/agent-audit.json')
const DASHBOARD = JSON.parse(DASHBOARD_TEXT) as { panels: Panel[]; templating: { list: { definition?: string }[] } }
const PANELS = DASHBOARD.panels.filter(({ type }) => type !== 'row')
const EXPRESSIONS = [
  ...ALERTS.map(({ alert, expr }) => ({ of: alert, expr })),
  ...PANELS.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ of: `panel ${title}`, expr }))),
]

/** Labels that Prometheus adds to what it scrapes. */
const ADDED = ['instance', 'job']

/** Each metric of an exposition, with the labels of its samples. */
function metricsOf(exposition: string): [name: string, labels: string[]][] {
  const samples = exposition.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)
  return [...samples].map(([, name = '', labels = '']) => [
    name,
    [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
  ])
}

const store = await openStore()

/** What /metrics of a consumer says that has stored something and knows its lag. */
async function consumerMetrics(): Promise<string> {
  const log = await openEmbedded(store)
  const running = runConsumer(environmentOf(store, log))
  const http = await serveHttp(running.consumer, '127.0.0.1', 0)
  onTestFinished(() => http.close())
  await log.append(0, encodeRun('a', 0, 9))
  const metrics = async (): Promise<string> => (await fetch(`${http.url}/metrics`)).text()
  await expect.poll(metrics).toMatch(/^audit_events_stored_total\{.*\} 10$[^]*^audit_lag_records\{.*\} 0$/m)
  return metrics()
}

/** What `verify` and `spool status` write of a spool that is left, and what the example exports of its producer. */
async function commandAndProducerMetrics(): Promise<string[]> {
  const { url, username, password } = store.dataDir.reader
  const env = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  const spoolDir = makeTempDirectory()
  const options = { agentId: 'agent-1', brokers: ['127.0.0.1:1'], spoolDir, handleExit: false, onProblem: () => {} }
  const trail = createAuditTrail(options)
  await trail.startSession().decision({ reasoning: 'left.' }).stored
  await trail.close({ timeoutMs: 0 })
  // A producer has this series from its first loss on.
  const losing: Pick<AuditTrail, 'stats'> = { stats: () => ({ ...trail.stats(), lost: { SPOOL_FULL: 1 } }) }
  const ofProducer = prometheusText(losing, { agent_id: 'agent-1', topic: 'audit.events' })
  const terminal = { out: () => undefined, err: () => undefined, env, colors: false }
  const commands = [
    ['verify', '--completeness'],
    ['spool', 'status', spoolDir],
  ]
  const files = commands.map(() => join(makeTempDirectory(), 'audit.prom'))
  for (const [index, file] of files.entries()) await runCli([...(commands[index] ?? []), '--metrics', file], terminal)
  return [ofProducer, ...files.map((file) => readFileSync(file, 'utf8'))]
}

/** What /metrics of `detect watch` says. */
async function detectorMetrics(): Promise<string> {
  const { url, username, password } = store.dataDir.detector
  const env = { ...process.env, CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  const command = join(ROOT, 'cli/bin/agent-audit.js')
  const args = ['detect', 'watch', '--only', 'loop.cycle', '--metrics-port', '0']
  const child = spawn(process.execPath, ['--conditions=agent-audit-source', command, ...args], { env })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  await expect.poll(() => said).toMatch(/metrics at http:\S+/)
  const [, address = ''] = /metrics at (\S+)/.exec(said) ?? []
  return (await fetch(address)).text()
}

/** What /metrics of `notary` says, of a sink that is away. */
async function notaryMetrics(): Promise<string> {
  const { url, username, password } = store.dataDir.notary
  const { brokers } = await sharedKafka()
  const topic = await makeTopic(connectKafka(brokers), { topic: `notary-${process.pid}.seals`, numPartitions: 1 })
  const kafka = connectKafka(brokers).producer()
  await kafka.connect()
  await kafka.send({ topic, messages: [{ value: 'no seal, and a leaf' }] })
  await kafka.disconnect()
  const stopping = new AbortController()
  const env = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  let said = ''
  const witness = [
    '--witness',
    'http://127.0.0.1:9',
    '--witness-key',
    signerFromPem(generateKey('w')).key.cosigner.vkey,
  ]
  const ended = runCli(['notary', '--topic', topic.replace('.seals', ''), '--metrics-port', '0', ...witness], {
    out: () => undefined,
    err: (text) => (said += text),
    env: { ...env, KAFKA_BROKERS: brokers.join(','), AUDIT_SIGNING_KEY: generateKey('notary-1') },
    colors: false,
    interrupted: () => stopping.signal,
  })
  onTestFinished(async () => {
    stopping.abort()
    await ended
  })
  await expect.poll(() => said).toMatch(/witness 127\.0\.0\.1:9 takes no checkpoint/)
  const [, address = ''] = /metrics at (\S+)/.exec(said) ?? []
  const ready = await fetch(address.replace('/metrics', '/readyz'))
  expect([ready.status, await ready.text()]).toEqual([
    503,
    expect.stringMatching(/^witness 127.* takes no checkpoint: /),
  ])
  return (await fetch(address)).text()
}

/** What the code exports: the labels of each metric. */
async function exportedMetrics(): Promise<Map<string, Set<string>>> {
  const expositions = [
    await consumerMetrics(),
    ...(await commandAndProducerMetrics()),
    await detectorMetrics(),
    await notaryMetrics(),
  ]
  const exported = new Map<string, Set<string>>()
  for (const [name, labels] of expositions.flatMap(metricsOf)) {
    exported.set(name, new Set([...(exported.get(name) ?? []), ...labels, ...ADDED]))
  }
  return exported
}

it('alerts and dashboard ask for metrics and labels that consumer, commands and producers export', async () => {
  const exported = await exportedMetrics()
  const labelsOf = (metric: string): Set<string> => exported.get(metric) ?? new Set()
  const wrong: string[] = []
  for (const { of, expr } of EXPRESSIONS) {
    const { selected, grouping } = readExpression(expr)
    for (const { metric, labels } of selected) {
      if (!exported.has(metric)) wrong.push(`${of}: no metric ${metric}`)
      for (const label of labels) if (!labelsOf(metric).has(label)) wrong.push(`${of}: ${metric} has no label ${label}`)
    }
    const known = new Set([...ADDED, ...selected.flatMap(({ metric }) => [...labelsOf(metric)])])
    for (const label of grouping) if (!known.has(label)) wrong.push(`${of}: nothing has the label ${label}`)
  }
  for (const { alert, expr, annotations } of ALERTS) {
    const { selected, grouping } = readExpression(expr)
    const ofMetrics = selected.flatMap(({ metric }) => [...labelsOf(metric)])
    const result = expr.includes(' by (') ? grouping : ofMetrics
    const named = [...JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)].map(([, label = '']) => label)
    for (const label of named) if (!result.includes(label)) wrong.push(`${alert}: its result has no label ${label}`)
  }
  const offered = DASHBOARD.templating.list.flatMap(({ definition = '' }) => definition.match(/\w+/g)?.slice(1) ?? [])
  expect(offered).toEqual(['audit_events_stored_total', 'topic'])
  expect(labelsOf('audit_events_stored_total').has('topic')).toBe(true)
  expect(wrong).toEqual([])
})

it.each(EXPRESSIONS)('$of asks in PromQL: $expr', ({ expr }) => {
  const { errors, selected } = readExpression(expr)
  expect(errors).toEqual([])
  expect(selected.length).toBeGreaterThan(0)
})

describe.each(ALERTS)('$alert', ({ alert, labels, annotations }) => {
  it('says how grave it is, and what an operator sees', () => {
    expect(['warning', 'critical']).toContain(labels.severity)
    expect(annotations.summary.length).toBeGreaterThan(15)
    expect(annotations.description.length).toBeGreaterThan(50)
  })

  it('leads to a runbook that names it: symptom, meaning, what to look at, what to do', () => {
    expect(annotations.runbook_url).toMatch(/^docs\/runbooks\/[\w-]+\.md$/)
    const page = read(annotations.runbook_url)
    expect(page.match(/^## .*$/gm)).toEqual(['## Symptom', '## What it means', '## What to look at', '## What to do'])
    expect(page).toContain(`\`${alert}\``)
  })

  it('has a case in which it fires', () => {
    expect(read('test/deploy/alerts.yml')).toContain(`{alertname="${alert}"}`)
  })
})

describe('the runbooks', () => {
  const pages = globSync('docs/runbooks/*.md', { cwd: ROOT }).filter((page) => !page.endsWith('README.md'))

  it('are all in the index', () => {
    const index = read('docs/runbooks/README.md')
    const names = pages.map((page) => page.slice('docs/runbooks/'.length))
    expect(names.filter((name) => !index.includes(`](${name})`))).toEqual([])
  })

  it('name no alert that does not exist', () => {
    const named = pages.flatMap((page) => read(page).match(/`Audit[A-Z]\w+`/g) ?? [])
    expect(named.filter((name) => !ALERTS.some(({ alert }) => name === `\`${alert}\``))).toEqual([])
  })
})

describe('the dashboard', () => {
  it.each(PANELS)('panel $title says what it shows, and in which unit', ({ description, fieldConfig, targets }) => {
    expect(description?.length ?? 0).toBeGreaterThan(20)
    expect(fieldConfig?.defaults.unit).toMatch(/^\w+$/)
    expect(targets?.filter(({ legendFormat }) => legendFormat === '')).toEqual([])
  })

  it('can be imported anywhere: its datasource is a variable, and it has no id of an instance', () => {
    const datasources = DASHBOARD_TEXT.match(/"uid": "(?!agent-audit")[^"]*"/g) ?? []
    expect(new Set(datasources)).toEqual(new Set(['"uid": "${datasource}"']))
    expect(DASHBOARD).not.toHaveProperty('id')
    const ids = DASHBOARD.panels.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })
})

const promtool = process.env['PROMTOOL'] ?? 'promtool'
const missing = spawnSync(promtool, ['--version']).error !== undefined

it.skipIf(missing)(
  `promtool: each alert fires in its case, and none on an ordinary day${missing ? ': needs promtool, npm run check:alerts says how to get it' : ''}`,
  () => {
    const script = join(ROOT, 'test/deploy/check-alerts.ts')
    expect(existsSync(script)).toBe(true)
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' })
    expect(`${stdout}${stderr}`).toMatch(/SUCCESS/)
    expect(status).toBe(0)
  },
  180_000,
)
