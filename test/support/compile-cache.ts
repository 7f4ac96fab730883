/**
 * Node's cache of compiled and type-stripped sources, filled before the first test.
 *
 * Node 24 strips types in WebAssembly, and V8 frees that code unsafely when one thread of a process compiles while another
 * ends (nodejs/node#64500): a process that starts delivery threads from the sources, as tests do by the hundred, dies by
 * SIGTRAP once in a few hundred threads. A cached source is not stripped again. A published package is JavaScript.
 */
import { execFileSync } from 'node:child_process'
import type { TestProject } from 'vitest/node'

const ROOT = new URL('../../', import.meta.url)
/** All that a delivery thread loads, at its start or later. */
const SOURCES = [
  'producer/src/delivery/delivery.ts',
  'kafka/src/kafka-sender.ts',
  'kafka/src/patches/produce-writer.ts',
  'producer/src/delivery/senders.ts',
  'producer/src/delivery/agent-audit-delivery.ts',
]

export function setup({ config }: TestProject): void {
  // The last one is made for a thread: it throws here once it has loaded.
  const load = SOURCES.map((file) => `await import('${new URL(file, ROOT).href}').catch(() => {})`).join('\n')
  execFileSync(process.execPath, ['--conditions=agent-audit-source', '--input-type=module', '--eval', load], {
    env: { ...process.env, ...config.env },
  })
}
