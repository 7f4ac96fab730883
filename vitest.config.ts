import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'

const conditions = ['agent-audit-source']
/** A broker lives for seconds here: code that is optimised for hours of running costs it more than it gains. */
const JAVA_OPTIONS = '-XX:TieredStopAtLevel=1'

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], tsconfig: './test/tsconfig.json' },
    // The tests' own kafkajs is as it comes (kafka/README.md).
    execArgv: ['--conditions=agent-audit-source', '--disable-warning=TimeoutNegativeWarning'],
    env: {
      NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/agent-audit/compile', import.meta.url)),
      JDK_JAVA_OPTIONS: process.env['JDK_JAVA_OPTIONS'] ?? JAVA_OPTIONS,
    },
    globalSetup: ['test/support/compile-cache.ts', 'test/support/run-servers.ts', 'test/support/run-kafka.ts'],
    sequence: { sequencer: LongestFirst },
    pool: 'forks',
    // One more than the cores of a small machine: most tests wait for servers half of their time.
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A poll waits for its condition. The default of 1 s fails on a busy machine.
    expect: { poll: { timeout: 20_000 } },
  },
})
