/**
 * Node's cache of compiled and type-stripped sources, filled before the first test.
 *
 * Node 24 strips types in WebAssembly, and V8 frees that code unsafely when one thread of a process compiles while another
 * ends (nodejs/node#64500): a process that starts delivery threads from the sources, as tests do by the hundred, is lost to
 * SIGTRAP once in a few hundred threads. What the cache holds is not stripped again. A published package is JavaScript.
 */
import { execFileSync } from 'node:child_process'
import type { TestProject } from 'vitest/node'

const PRODUCER = new URL('../../producer/src/', import.meta.url)
/** All that a delivery thread loads, at its start or later. */
const SOURCES = ['delivery/delivery.ts', 'log/kafka-sender.ts', 'log/embedded-sender.ts', 'delivery/worker.ts']

export function setup({ config }: TestProject): void {
  // The last file runs in a thread only: outside one it throws, after it has loaded.
  const load = SOURCES.map((file) => `await import('${new URL(file, PRODUCER).href}').catch(() => {})`).join('\n')
  execFileSync(process.execPath, ['--conditions=agent-audit-source', '--input-type=module', '--eval', load], {
    env: { ...process.env, ...config.env },
  })
}
