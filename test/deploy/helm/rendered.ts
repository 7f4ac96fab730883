/** The chart, as Helm renders it. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { CHART, findTool } from './tools.ts'

type Labels = Record<string, string>

export interface Container {
  readonly image: string
  readonly resources: { limits: { memory: string } }
  readonly args?: string[]
  readonly env: { name: string; value: string }[]
  readonly securityContext: Record<string, unknown>
  readonly startupProbe: { httpGet: { path: string } }
  readonly livenessProbe: { httpGet: { path: string } }
  readonly readinessProbe: { httpGet: { path: string } }
}
export interface Pod {
  readonly metadata: { labels: Labels }
  readonly spec: {
    serviceAccountName?: string
    terminationGracePeriodSeconds?: number
    automountServiceAccountToken: boolean
    containers: [Container]
    volumes: [{ projected: { sources: { secret: { name: string; items: [{ key: string; path: string }] } }[] } }]
  }
}
export interface Rendered {
  readonly kind: string
  readonly metadata: { name: string; labels: Labels; annotations?: Labels }
  readonly data?: Labels
  readonly spec: {
    replicas?: number
    template: Pod
    selector: Labels & { matchLabels: Labels }
    podSelector: { matchLabels: Labels }
    ports: { name: string }[]
    endpoints: { port: string }[]
    egress: { ports: { port: number }[] }[]
    groups: unknown
    triggers: { metadata: { query: string } }[]
    scaleTargetRef: { name: string }
  }
}

/** Renders the chart with a file of its folder ci. */
export function render(values: string, ...options: string[]): { objects: Rendered[]; error: string } {
  const helm = findTool('helm') ?? 'helm'
  const args = ['template', 'audit', CHART, '--namespace', 'audit', '--values', join(CHART, 'ci', values), ...options]
  const { status, stdout, stderr } = spawnSync(helm, args, { encoding: 'utf8' })
  if (status !== 0) return { objects: [], error: stderr }
  const objects = parseAllDocuments(stdout).map((document) => document.toJS() as Rendered)
  return { objects: objects.filter((object) => object !== null), error: '' }
}

/** The object of a kind whose name ends so. */
export function find(objects: readonly Rendered[], kind: string, ending = ''): Rendered {
  const found = objects.find((object) => object.kind === kind && object.metadata.name.endsWith(ending))
  if (found === undefined) throw new Error(`no ${kind} …${ending}`)
  return found
}

export function environmentOf({ spec }: Rendered): Labels {
  return Object.fromEntries(spec.template.spec.containers[0].env.map(({ name, value }) => [name, value]))
}
