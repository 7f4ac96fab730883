/** Helm and kubeconform, built from their Go modules, and the schemas that objects are held against. */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
export const CHART: string = join(ROOT, 'deploy/helm/agent-audit')
const CACHE = join(ROOT, 'node_modules/.cache/agent-audit/kubernetes')
const BIN = join(CACHE, 'bin')
const MODULES = {
  helm: 'helm.sh/helm/v4/cmd/helm@v4.3.1',
  kubeconform: 'github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0',
}
/** A Python package that ships the JSON schemas of each version of Kubernetes. */
const SCHEMA_PACKAGE = 'kubernetes-validate==1.37.0'
/** The oldest version that the chart allows, and the newest one that the package has. */
export const KUBERNETES: readonly string[] = ['1.29.0', '1.37.0']
/** Go modules with the custom resources that the chart makes. */
const RESOURCES = [
  { module: 'github.com/kedacore/keda/v2@v2.20.2', file: 'config/crd/bases/keda.sh_scaledobjects.yaml' },
  ...['servicemonitors', 'prometheusrules'].map((name) => ({
    module: 'github.com/prometheus-operator/prometheus-operator@v0.85.0',
    file: `example/prometheus-operator-crd/monitoring.coreos.com_${name}.yaml`,
  })),
]

/** Where a program is that `npm run check:helm` has built, or else one on the path; undefined: nowhere. */
export function findTool(name: keyof typeof MODULES): string | undefined {
  const directories = [BIN, ...(process.env['PATH'] ?? '').split(delimiter)]
  return directories.map((directory) => join(directory, name)).find((file) => existsSync(file))
}

/** Builds the program unless it is there: some minutes the first time. */
export function installTool(name: keyof typeof MODULES): string {
  const file = join(BIN, name)
  if (!existsSync(file)) {
    process.stdout.write(`building ${MODULES[name]} (Go 1.26)\n`)
    execFileSync('go', ['install', MODULES[name]], { env: { ...process.env, GOBIN: BIN }, stdio: 'inherit' })
  }
  return file
}

/** Fetches the schemas unless they are there. @returns Locations for kubeconform's -schema-location. */
export function installSchemas(): string[] {
  const own = join(CACHE, 'schemas')
  if (!existsSync(join(own, 'complete'))) {
    rmSync(own, { recursive: true, force: true })
    writeKubernetesSchemas(own)
    for (const resource of RESOURCES) writeResourceSchema(own, resource)
    writeFileSync(join(own, 'complete'), '')
  }
  return [
    join(own, '{{.NormalizedKubernetesVersion}}', '{{.ResourceKind}}{{.KindSuffix}}.json'),
    join(own, '{{.Group}}', '{{.ResourceKind}}_{{.ResourceAPIVersion}}.json'),
  ]
}

function writeKubernetesSchemas(own: string): void {
  const unpacked = join(CACHE, 'package')
  rmSync(unpacked, { recursive: true, force: true })
  mkdirSync(unpacked, { recursive: true })
  const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--dest', unpacked]
  execFileSync('python3', [...pip, SCHEMA_PACKAGE], { stdio: 'inherit' })
  const [wheel = ''] = globSync(join(unpacked, '*.whl'))
  execFileSync('python3', ['-m', 'zipfile', '-e', wheel, unpacked])
  for (const version of KUBERNETES) {
    mkdirSync(join(own, `v${version}`), { recursive: true })
    const folder = join(unpacked, 'kubernetes_validate/kubernetes-json-schema', `v${version}-local-strict`)
    for (const file of globSync('*.json', { cwd: folder })) {
      const text = readFileSync(join(folder, file), 'utf8').replaceAll(
        '"/api/_definitions.json#',
        '"_definitions.json#',
      )
      // With its $id, which is a URL, kubeconform would look for the definitions there.
      const { $id: _, ...schema } = JSON.parse(text) as Record<string, unknown>
      writeFileSync(join(own, `v${version}`, file), JSON.stringify(schema))
    }
  }
  rmSync(unpacked, { recursive: true })
}

interface Definition {
  spec: { group: string; names: { kind: string }; versions: { name: string; schema: { openAPIV3Schema: Schema } }[] }
}

function writeResourceSchema(own: string, { module, file }: (typeof RESOURCES)[number]): void {
  const { Dir } = JSON.parse(
    execFileSync('go', ['mod', 'download', '-json', module], { cwd: CACHE, encoding: 'utf8' }),
  ) as { Dir: string }
  const { spec } = parse(readFileSync(join(Dir, file), 'utf8')) as Definition
  mkdirSync(join(own, spec.group), { recursive: true })
  for (const { name, schema } of spec.versions) {
    const target = join(own, spec.group, `${spec.names.kind.toLowerCase()}_${name}.json`)
    writeFileSync(target, JSON.stringify(strict(schema.openAPIV3Schema)))
  }
}

interface Schema {
  [keyword: string]: unknown
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: Schema | boolean
}

/** As the API server reads it with strict field validation: an unknown field is an error. */
function strict(schema: Schema): Schema {
  const result: Schema = { ...schema }
  if (schema['x-kubernetes-int-or-string'] === true) result['type'] = ['integer', 'string']
  if (schema.items !== undefined) result.items = strict(schema.items)
  if (typeof schema.additionalProperties === 'object') result.additionalProperties = strict(schema.additionalProperties)
  if (schema.properties === undefined) return result
  const entries = Object.entries(schema.properties).map(([name, field]) => [name, strict(field)] as const)
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true || schema.additionalProperties !== undefined
  return { ...result, properties: Object.fromEntries(entries), ...(open ? {} : { additionalProperties: false }) }
}
