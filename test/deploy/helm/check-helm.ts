/**
 * `npm run check:helm`: lints the chart, renders it with each file of its folder ci, and holds every object against the published
 * schemas of Kubernetes, KEDA and the Prometheus operator. It fetches what it needs (Go, Python's pip): a few minutes the first time.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { CHART, installSchemas, installTool, KUBERNETES } from './tools.ts'

/** Shows that the schemas are read: a wrong type, and a field that does not exist. */
const WRONG = `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: wrong }
spec: { maxUnavailable: [1], evictionPolicy: AlwaysAllow, selector: {} }
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: { name: wrong }
spec: { scaleTargetRef: { name: consumer }, maxReplicas: 3, triggers: [{ type: prometheus, metadata: {} }] }
`

interface Summary {
  readonly resources: readonly { kind: string; name: string; status: string; msg: string }[]
  readonly summary: { valid: number; invalid: number; errors: number; skipped: number }
}

const [helm, kubeconform, locations] = [installTool('helm'), installTool('kubeconform'), installSchemas()]

function validate(objects: string, version: string): Summary {
  const args = ['-strict', '-summary', '-verbose', '-output', 'json', '-kubernetes-version', version]
  const schemas = locations.flatMap((location) => ['-schema-location', location])
  const { stdout, stderr } = spawnSync(kubeconform, [...args, ...schemas, '-'], { input: objects, encoding: 'utf8' })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Summary
}

/** Its standard error, notes about links to the files of deploy/, is part of the error if it fails. */
const run = (...args: string[]): string =>
  execFileSync(helm, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const say = (line: string): boolean => process.stdout.write(`${line}\n`)
say(run('version', '--template', 'helm {{ .Version }}'))
let failed = 0
for (const values of globSync('ci/*.yaml', { cwd: CHART }).toSorted()) {
  const file = join(CHART, values)
  run('lint', '--strict', CHART, '--values', file)
  const objects = run('template', 'audit', CHART, '--namespace', 'audit', '--values', file)
  for (const version of KUBERNETES) {
    const { resources, summary } = validate(objects, version)
    const wrong = resources.filter(({ status }) => status !== 'statusValid')
    failed += wrong.length + (summary.valid === 0 ? 1 : 0)
    say(`${values} on Kubernetes ${version}: ${summary.valid} objects valid, ${wrong.length} not`)
    if (version === KUBERNETES[0])
      say(
        `  ${resources
          .map(({ kind }) => kind)
          .toSorted()
          .join(', ')}`,
      )
    for (const { kind, name, status, msg } of wrong) say(`  ${kind} ${name}: ${status}: ${msg}`)
  }
}
const control = validate(WRONG, KUBERNETES[0] ?? '').summary
say(`control: ${control.invalid} of 2 wrong objects refused`)
process.exitCode = failed === 0 && control.invalid === 2 ? 0 : 1
