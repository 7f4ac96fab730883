/** Requests to an embedded server as an attacker makes them, and what this machine lets a test try. */
import { spawnSync } from 'node:child_process'
import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'
import { embeddedAvailability } from '@agent-audit/stack'

// These tests are about servers that this machine starts.
vi.stubEnv('CLICKHOUSE_URL', undefined)

const clickHouse = embeddedAvailability()
/** Why these tests cannot run here; undefined if they can. */
export const NO_CLICKHOUSE: string | undefined = clickHouse.available ? undefined : `(skipped: ${clickHouse.reason})`
/** Why the tests about confined servers cannot run here; undefined if they can. */
export const NO_LANDLOCK: string | undefined = NO_CLICKHOUSE ?? whyUnconfined()
/** An account that owns nothing here. */
export const NOBODY = 65_534
/** Why this process cannot act as another account of the machine. */
export const NOT_ROOT: string | undefined =
  process.geteuid?.() === 0 ? NO_CLICKHOUSE : '(skipped: only root can act as another account)'

function whyUnconfined(): string | undefined {
  const confinement = fileURLToPath(new URL('../../embedded/src/confinement.ts', import.meta.url))
  const script = `import { confineThread } from ${JSON.stringify(confinement)}
    process.stdout.write(confineThread({ read: [], write: [], remove: [] }) ?? '')`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  return stdout === '' ? undefined : `(skipped: ${stdout})`
}

export interface Attack {
  readonly method?: string
  /** Path and query. @defaultValue `/` */
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** Sends one request with just these headers: `fetch` would not let a test choose Host and Origin. */
export function send(url: string, { method = 'POST', path = '/', headers = {}, body = '' }: Attack): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, url), { method, headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

/** Basic authentication. */
export function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
}
