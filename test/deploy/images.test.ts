/** The Dockerfile holds what the packages and their settings say: no engine is needed to see that they drift apart. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const dockerfile = read('deploy/docker/Dockerfile').replaceAll('\\\n', ' ')
const root = JSON.parse(read('package.json')) as {
  version: string
  workspaces: string[]
  devDependencies: Record<string, string>
}

interface Manifest {
  readonly name: string
  readonly files?: readonly string[]
  readonly dependencies?: Readonly<Record<string, string>>
}

const manifest = (folder: string): Manifest => JSON.parse(read(`${folder}/package.json`)) as Manifest
const folders = new Map(root.workspaces.map((folder) => [manifest(folder).name, folder]))

/** The instructions of a stage, without comments. */
function stage(name: string): string {
  const stages = dockerfile.split(/^(?=FROM )/m)
  const found = stages.find((text) => text.split('\n')[0]?.endsWith(` AS ${name}`))
  if (found === undefined) throw new Error(`no stage ${name}`)
  return found.replaceAll(/^#.*\n/gm, '')
}

/** Folders of the workspaces that a workspace imports at run time, itself included. */
function imported(folder: string, seen = new Set<string>()): Set<string> {
  if (seen.has(folder)) return seen
  seen.add(folder)
  for (const name of Object.keys(manifest(folder).dependencies ?? {})) {
    const next = folders.get(name)
    if (next !== undefined) imported(next, seen)
  }
  return seen
}

test('the images run the Node that the tests run on, and say the version of the packages', () => {
  expect(dockerfile).toContain(`ARG NODE_IMAGE=node:${root.devDependencies['node']}-bookworm-slim\n`)
  expect(stage('runtime')).toContain(`ARG VERSION=${root.version}\n`)
  for (const label of ['version=${VERSION}', 'revision=${REVISION}'])
    expect(stage('runtime')).toContain(`org.opencontainers.image.${label}`)
})

test('npm ci sees every workspace of the lock file', () => {
  const copied = [...stage('manifests').matchAll(/^COPY (\S+)\/package\.json \1\/$/gm)].map(
    ([, folder]) => folder ?? '',
  )
  expect(new Set(copied)).toEqual(new Set(root.workspaces))
})

test.each([
  { app: 'consumer-app', target: 'consumer', entry: 'consumer' },
  { app: 'command-app', target: 'command', entry: 'cli' },
])('the image $target holds all that it imports, and nothing else', ({ app, target, entry }) => {
  const needed = [...imported(entry)].flatMap((folder) =>
    (manifest(folder).files ?? [])
      .filter((name) => !name.startsWith('!') && !name.startsWith('dist/') && name !== 'bin')
      .map((name) => `${folder}/${name}`),
  )
  const copied = [...stage(app).matchAll(/^COPY --from=built \/app\/(\S+) \1$/gm)].map(([, path]) => path ?? '')
  expect(new Set(copied)).toEqual(new Set(needed))
  const removed = /^RUN rm -rf (.*)$/m.exec(stage(app))?.[1]?.split(' ') ?? []
  const unneeded = root.workspaces
    .filter((folder) => !imported(entry).has(folder))
    .map((folder) => folder.split('/')[0])
  expect(removed).toEqual(expect.arrayContaining(unneeded))
  expect(stage(app)).toMatch(/npm ci .*--omit=dev/)
  expect(stage(target)).toContain(`"/app/${entry}/dist/main.js"]`)
})

test('what runs has no shell and is not root', () => {
  for (const name of ['runtime', 'command', 'consumer']) {
    for (const [, form] of stage(name).matchAll(/(?:ENTRYPOINT|CMD) (.*)$/gm)) expect(form).toMatch(/^\[".*"\]$/)
    expect(stage(name)).not.toMatch(/^(RUN|SHELL|ADD) /m)
  }
  expect(stage('runtime')).toMatch(/^FROM scratch AS runtime\n/)
  expect(stage('runtime')).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m)
  expect(dockerfile).not.toMatch(/^USER (?!10001:10001)/m)
})

test('the build sees what it copies, and no data, secrets or dependencies', () => {
  const rules = read('.dockerignore').split('\n')
  const first = rules.findIndex((rule) => rule !== '' && !rule.startsWith('#'))
  expect(rules[first]).toBe('*')
  const allowed = rules.filter((rule) => rule.startsWith('!')).map((rule) => rule.slice(1))
  const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(
    ([, paths]) => paths?.split(' ') ?? [],
  )
  expect(sources.length).toBeGreaterThan(10)
  const unseen = sources.filter((source) => !allowed.some((rule) => source === rule || source.startsWith(`${rule}/`)))
  expect(unseen).toEqual([])
  const kept = ['**/node_modules', '**/dist', '**/.env*', '**/.audit-*', '**/*.key', '**/*.pem']
  expect(rules.slice(first + 1)).toEqual(expect.arrayContaining(kept))
})

test('the lab builds every image that the compose file asks for', () => {
  const lab = read('deploy/docker-lab/lab.sh')
  const versions = new Map([...lab.matchAll(/^(\w+)=(\S+)$/gm)].map(([, name, value]) => [name, value]))
  const names = [...lab.matchAll(/^ +\[\w+\]="(.*)"$/gm)].map(([, name = '']) =>
    name.replaceAll(/\$(\w+)/g, (_, variable: string) => versions.get(variable) ?? ''),
  )
  const built = new Set([...names, `agent-audit:${root.version}`, `agent-audit-consumer:${root.version}`])
  const asked = [...read('docker-compose.yml').matchAll(/^ +image: (\S+)$/gm)].map(([, image]) => image ?? '')
  expect(asked.filter((image) => !built.has(image))).toEqual([])
})

test('docker-compose.yml and the jars are the same version of Kafka', () => {
  const image = /apache\/kafka:(\S+)/.exec(read('docker-compose.yml'))?.[1]
  expect(image).toBe(/<kafka\.version>([^<]+)</.exec(read('stack/kafka/pom.xml'))?.[1])
})
