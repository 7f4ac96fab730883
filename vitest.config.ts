import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const conditions = ['agent-audit-source']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], tsconfig: './test/tsconfig.json' },
    // The tests' own kafkajs is as it comes (kafka/README.md).
    execArgv: ['--conditions=agent-audit-source', '--disable-warning=TimeoutNegativeWarning'],
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/agent-audit/compile', import.meta.url)) },
    globalSetup: 'test/support/compile-cache.ts',
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
