/** The Helm chart: it knows the consumer's settings, names wrong values, and its objects fit together. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCli } from '@agent-audit/cli'
import { readSettings } from '@agent-audit/consumer'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { environmentOf, find, render } from './helm/rendered.ts'
import { CHART, findTool } from './helm/tools.ts'

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url))
const NO_HELM =
  findTool('helm') === undefined ? "no helm: 'npm run check:helm' builds it (Go), or put it on the path" : ''
const ofChart = (file: string): string => readFileSync(join(CHART, file), 'utf8')

/** What the consumer makes of its environment, valid or not. */
function outcomeOf(environment: Readonly<Record<string, string>>): string {
  try {
    return JSON.stringify(readSettings(environment))
  } catch (error) {
    return String(error)
  }
}

/** The ports that a consumer may reach, by rule. */
const portsOf = (values: string, ...options: string[]): number[][] =>
  find(render(values, ...options).objects, 'NetworkPolicy', '-consumer').spec.egress.map(({ ports }) =>
    ports.map(({ port }) => port),
  )

describe('the chart', () => {
  it('has the version of the packages', () => {
    const { version } = JSON.parse(readFileSync(join(DEPLOY, '../package.json'), 'utf8')) as { version: string }
    expect((parse(ofChart('Chart.yaml')) as { appVersion: string }).appVersion).toBe(version)
  })

  it('has the alerts and the dashboard of this repository', () => {
    expect(ofChart('files/agent-audit.rules.yml')).toBe(
      readFileSync(join(DEPLOY, 'prometheus/rules/agent-audit.yml'), 'utf8'),
    )
    expect(ofChart('files/agent-audit.dashboard.json')).toBe(
      readFileSync(join(DEPLOY, 'grafana/dashboards/agent-audit.json'), 'utf8'),
    )
  })

  it('takes the settings of the consumer that it does not make itself, within the same bounds', () => {
    type Bound = { readonly minimum?: number; readonly maximum?: number }
    const schema = JSON.parse(ofChart('values.schema.json')) as {
      properties: { consumer: { properties: { settings: { properties: Record<string, Bound> } } } }
    }
    const settings = schema.properties.consumer.properties.settings.properties
    const own = /^(AUDIT|CLICKHOUSE|HTTP|SCHEMA)_/
    const known = Object.keys(readSettings({ KAFKA_BROKERS: 'kafka:9092' })).filter((name) => /^[A-Z_]+$/.test(name))
    expect(Object.keys(settings).toSorted()).toEqual(known.filter((name) => !own.test(name)).toSorted())
    for (const [name, { minimum, maximum }] of Object.entries(settings)) {
      const issueOf = (value: number): string => outcomeOf({ KAFKA_BROKERS: 'kafka:9092', [name]: String(value) })
      if (minimum !== undefined && minimum > 0) expect(issueOf(minimum - 1)).toContain(`${name}: expected at least`)
      if (maximum !== undefined) expect(issueOf(maximum + 1)).toContain(`${name}: expected at most ${maximum}`)
    }
  })
})

describe.skipIf(NO_HELM !== '')(`the rendered chart ${NO_HELM}`, () => {
  it.each([
    ['kafka.broker=kafka:9092', /kafka.*'broker'/],
    ['kafka.brokers=kafka', /kafka\/brokers/],
    ['kafka.sasl.mechanism=plain', /kafka\/sasl\/(username|existingSecret)/],
    ['kafka.tls.ca=ca.crt', /kafka\.tls\.existingSecret: expected the secret that has the key ca\.crt/],
    ['clickhouse.existingSecret=', /clickhouse\/existingSecret/],
    ['setup.clickhouse.existingSecret=', /setup\/clickhouse\/existingSecret/],
    ['detect.enabled=true', /detect\/clickhouse\/existingSecret/],
    ['notary.enabled=true', /notary\/(clickhouse|signingKey)\/existingSecret/],
    ['notary.s3.url=s3://audit/a/', /notary\/s3\/(existingSecret|retentionDays)/],
    ['detect.alerts.severity=grave', /detect\/alerts\/severity/],
    ['consumer.replicas=two', /consumer\/replicas.*want integer/],
    ['consumer.settings.LEASE_SECONDS=3', /consumer\/settings.*'LEASE_SECONDS'/],
    ['consumer.settings.LEASE_MS=3', /consumer\/settings\/LEASE_MS/],
    ['autoscaling.enabled=true', /autoscaling\/prometheusUrl/],
  ])('refuses %s, and names it', (value, named) => {
    const { objects, error } = render('least.yaml', '--set', value)
    expect([objects, error.replaceAll(/\s+/g, ' ')]).toEqual([[], expect.stringMatching(named)])
  })

  it('gives the consumer settings that it knows, and each secret as a file', () => {
    const deployment = find(render('full.yaml').objects, 'Deployment')
    const environment = environmentOf(deployment)
    const mounted = deployment.spec.template.spec.volumes[0].projected.sources.map(({ secret }) => secret.items[0].path)
    const files = Object.keys(environment).filter((name) => name.endsWith('_FILE'))
    expect(files.map((name) => environment[name])).toEqual(mounted.map((path) => `/etc/agent-audit/secrets/${path}`))
    expect(files.toSorted()).toEqual(mounted.map((path) => `${path}_FILE`).toSorted())
    expect(Object.keys(environment).filter((name) => /PASSWORD$|KEY$/.test(name))).toEqual([])

    const secret = join(makeTempDirectory(), 'secret')
    writeFileSync(secret, 'secret\n')
    // Without certificates: what follows shows that a missing one is noticed.
    const base = Object.entries(environment).filter(([name]) => !/_SSL_\w+_FILE$/.test(name))
    const given = Object.fromEntries(base.map(([name, value]) => [name, name.endsWith('_FILE') ? secret : value]))
    const settings = readSettings(given)
    expect(settings).toMatchObject({ CLICKHOUSE_PASSWORD: expect.anything() as unknown, BATCH_MAX_BYTES: 16_777_216 })
    const ignored = Object.keys(environment).filter(
      (name) => outcomeOf({ ...given, [name]: `${environment[name]}-other` }) === outcomeOf(given),
    )
    expect(ignored).toEqual([])
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(
      settings.SHUTDOWN_TIMEOUT_MS / 1000,
    )
  })

  it('sets up by options that the command knows, before the release, with no object of it', async () => {
    const { objects } = render('full.yaml')
    const job = find(objects, 'Job')
    const pod = job.spec.template.spec
    let help = ''
    await runCli(['setup', '--help'], { out: (text) => (help += text), err: () => undefined, env: {}, colors: false })
    const options = (pod.containers[0].args ?? []).flatMap((argument) => /^--[\w-]+/.exec(argument) ?? [])
    expect(options.filter((option) => !help.includes(`${option} <`))).toEqual([])
    const consumer = environmentOf(find(objects, 'Deployment'))
    const further = Object.keys(environmentOf(job)).filter((name) => !(name in consumer))
    expect(further.toSorted()).toEqual([
      'CLICKHOUSE_DETECTOR_PASSWORD_FILE',
      'CLICKHOUSE_DETECTOR_USER',
      'CLICKHOUSE_NOTARY_PASSWORD_FILE',
      'CLICKHOUSE_NOTARY_USER',
      'CLICKHOUSE_WRITER_PASSWORD_FILE',
      'CLICKHOUSE_WRITER_USER',
    ])
    expect(environmentOf(job)['KAFKA_SASL_USERNAME']).toBe('audit-admin')
    expect([pod.serviceAccountName, pod.automountServiceAccountToken]).toEqual([undefined, false])
    const weightOf = (object: typeof job): number => Number(object.metadata.annotations?.['helm.sh/hook-weight'])
    expect(weightOf(find(objects, 'NetworkPolicy', '-setup'))).toBeLessThan(weightOf(job))
  })

  it('runs the detectors by options and variables that the command knows, with their own user and secrets', async () => {
    const { objects } = render('full.yaml')
    const deployment = find(objects, 'Deployment', '-detect')
    const pod = deployment.spec.template.spec
    const [, , ...options] = pod.containers[0].args ?? []
    let help = ''
    const terminal = { out: (text: string) => (help += text), err: () => undefined, env: {}, colors: false }
    await runCli(['detect', 'watch', '--help'], terminal)
    const names = options.map((option) => option.split('=')[0] ?? '')
    expect(names.filter((name) => !help.includes(`${name} <`))).toEqual([])
    expect(options).toContain('--alert-severity=medium')

    const environment = environmentOf(deployment)
    const mounted = pod.volumes[0].projected.sources.map(({ secret }) => [secret.items[0].path, secret.name])
    expect(Object.fromEntries(mounted)).toMatchObject({
      CLICKHOUSE_PASSWORD: 'audit-detector',
      AUDIT_ALERT_WEBHOOK_URL: 'alert-webhook',
      AUDIT_ALERT_WEBHOOK_SECRET: 'alert-webhook',
      AUDIT_ALERT_SLACK_URL: 'alert-slack',
      KAFKA_SASL_PASSWORD: 'kafka-alerts',
    })
    const files = Object.keys(environment).filter((name) => name.endsWith('_FILE'))
    expect(files.toSorted()).toEqual(mounted.map(([path]) => `${path}_FILE`).toSorted())
    const sources = ['cli/src/connect.ts', 'cli/src/alert-targets.ts', 'kafka/src/connection.ts', 'schemas/src/tls.ts']
    const known = sources.map((file) => readFileSync(join(DEPLOY, '..', file), 'utf8')).join('')
    const plain = Object.keys(environment).filter((name) => !/_SSL/.test(name))
    expect(plain.filter((name) => !known.includes(name.replace(/_FILE$/, '')))).toEqual([])
    expect(environment).toMatchObject({ CLICKHOUSE_USER: 'audit_detector', KAFKA_SASL_USERNAME: 'audit-alerts' })

    const { labels } = deployment.spec.template.metadata
    const service = find(objects, 'Service', '-detect')
    expect(labels).toMatchObject(service.spec.selector)
    expect(labels).not.toMatchObject(find(objects, 'Service', '-consumer').spec.selector)
    const monitor = find(objects, 'ServiceMonitor', '-detect')
    expect(service.metadata.labels).toMatchObject(monitor.spec.selector.matchLabels)
    const policy = find(objects, 'NetworkPolicy', '-detect')
    expect(labels).toMatchObject(policy.spec.podSelector.matchLabels)
    expect(policy.spec.egress.map(({ ports }) => ports.map(({ port }) => port))).toEqual([
      [53, 53],
      [9093, 9094, 9095],
      [8443],
      [443],
    ])
  })

  it('runs the notary by options and variables that the command knows, with its own user, key and secrets', async () => {
    const { objects, error } = render('full.yaml')
    expect(error).toBe('')
    const deployment = find(objects, 'Deployment', '-notary')
    const pod = deployment.spec.template.spec
    const [command, ...options] = pod.containers[0].args ?? []
    expect(command).toBe('notary')
    let help = ''
    const terminal = { out: (text: string) => (help += text), err: () => undefined, env: {}, colors: false }
    await runCli(['notary', '--help'], terminal)
    const names = options.map((option) => option.split('=')[0] ?? '')
    expect(names.filter((name) => !new RegExp(`${name}\\b`).test(help))).toEqual([])
    expect(options).toEqual(expect.arrayContaining(['--topic=audit.events', '--stdout', '--s3-retention-days=3650']))

    const environment = environmentOf(deployment)
    const mounted = pod.volumes[0].projected.sources.map(({ secret }) => [secret.items[0].path, secret.name])
    expect(Object.fromEntries(mounted)).toMatchObject({
      CLICKHOUSE_PASSWORD: 'audit-notary',
      AUDIT_SIGNING_KEY: 'notary-key',
      AWS_ACCESS_KEY_ID: 'notary-s3',
      AWS_SECRET_ACCESS_KEY: 'notary-s3',
      KAFKA_SASL_PASSWORD: 'kafka-notary',
    })
    expect(environment).toMatchObject({ CLICKHOUSE_USER: 'audit_notary', KAFKA_SASL_USERNAME: 'audit-notary' })
    const sources = [
      'cli/src/connect.ts',
      'cli/src/s3-sink.ts',
      'cli/src/commands/notary.ts',
      'kafka/src/connection.ts',
    ]
    const known = sources.map((file) => readFileSync(join(DEPLOY, '..', file), 'utf8')).join('')
    const plain = Object.keys(environment).filter((name) => !/_SSL/.test(name))
    expect(plain.filter((name) => !known.includes(name.replace(/_FILE$/, '')))).toEqual([])

    const { labels } = deployment.spec.template.metadata
    const service = find(objects, 'Service', '-notary')
    expect(labels).toMatchObject(service.spec.selector)
    expect(service.metadata.labels).toMatchObject(find(objects, 'ServiceMonitor', '-notary').spec.selector.matchLabels)
    const policy = find(objects, 'NetworkPolicy', '-notary')
    expect(labels).toMatchObject(policy.spec.podSelector.matchLabels)
    expect(policy.spec.egress.map(({ ports }) => ports.map(({ port }) => port))).toEqual([
      [53, 53],
      [9093, 9094, 9095],
      [8443],
      [443],
    ])
    expect(environmentOf(find(objects, 'Job'))).toMatchObject({ CLICKHOUSE_NOTARY_USER: 'audit_notary' })
  })

  it('without a topic of alerts the detectors reach no Kafka', () => {
    const options = ['--set', 'detect.enabled=true', '--set', 'detect.clickhouse.existingSecret=audit-detector']
    const { objects, error } = render('least.yaml', ...options)
    expect(error).toBe('')
    const environment = environmentOf(find(objects, 'Deployment', '-detect'))
    expect(Object.keys(environment).filter((name) => /KAFKA|ALERT|REGISTRY/.test(name))).toEqual([])
    const { egress } = find(objects, 'NetworkPolicy', '-detect').spec
    expect(egress.map(({ ports }) => ports.map(({ port }) => port))).toEqual([[53, 53], [8123]])
  })

  it('selects the consumers, and not the set-up', () => {
    const { objects } = render('full.yaml')
    const { labels } = find(objects, 'Deployment').spec.template.metadata
    const selectors = [
      find(objects, 'Deployment').spec.selector.matchLabels,
      find(objects, 'PodDisruptionBudget').spec.selector.matchLabels,
      find(objects, 'NetworkPolicy', '-consumer').spec.podSelector.matchLabels,
      find(objects, 'Service').spec.selector,
    ]
    for (const selector of selectors) {
      expect(labels).toMatchObject(selector)
      expect(find(objects, 'Job').spec.template.metadata.labels).not.toMatchObject(selector)
    }
    const service = find(objects, 'Service')
    const monitor = find(objects, 'ServiceMonitor')
    expect(service.metadata.labels).toMatchObject(monitor.spec.selector.matchLabels)
    expect(service.spec.ports.map(({ name }) => name)).toContain(monitor.spec.endpoints[0]?.port)
    expect(find(objects, 'ScaledObject').spec.scaleTargetRef.name).toBe(find(objects, 'Deployment').metadata.name)
    expect(find(objects, 'Deployment').spec.replicas).toBeUndefined()
  })

  it('restarts no consumer for a ClickHouse that is away, and gives it no rights', () => {
    const [container] = find(render('least.yaml').objects, 'Deployment').spec.template.spec.containers
    expect(container.startupProbe.httpGet.path).toBe('/healthz')
    expect(container.livenessProbe.httpGet.path).toBe('/healthz')
    expect(container.readinessProbe.httpGet.path).toBe('/readyz')
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
  })

  it('lets the consumer reach the ports of its brokers and URLs', () => {
    expect(portsOf('least.yaml')).toEqual([[53, 53], [9092], [8123]])
    expect(portsOf('least.yaml', '--set', 'clickhouse.url=https://clickhouse')).toEqual([[53, 53], [9092], [443]])
    expect(portsOf('full.yaml')).toEqual([[53, 53], [9093, 9094, 9095], [8443], [443]])
  })

  it('renders the alerts and the dashboard as they are, and scales on a metric that there is', () => {
    const { objects } = render('full.yaml')
    const rules = parse(ofChart('files/agent-audit.rules.yml')) as { groups: unknown[] }
    expect(rules.groups.length).toBeGreaterThan(0)
    expect(find(objects, 'PrometheusRule').spec.groups).toEqual(rules.groups)
    expect(find(objects, 'ConfigMap').data?.['agent-audit.json']).toBe(ofChart('files/agent-audit.dashboard.json'))
    const query = find(objects, 'ScaledObject').spec.triggers[0]?.metadata.query ?? ''
    const metric = /\((audit_\w+)\{/.exec(query)?.[1] ?? 'none'
    expect(readFileSync(join(DEPLOY, '../consumer/src/metrics.ts'), 'utf8')).toContain(`'${metric}'`)
  })
})
