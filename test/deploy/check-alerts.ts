/** `npm run check:alerts`: promtool checks the rules, and runs alerts.yml on them: when each fires, and that none fires on an ordinary day. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const INSTALL = 'go install github.com/prometheus/prometheus/cmd/promtool@latest'
const promtool = process.env['PROMTOOL'] ?? 'promtool'
const rules = fileURLToPath(new URL('../../deploy/prometheus/rules/agent-audit.yml', import.meta.url))
const tests = fileURLToPath(new URL('alerts.yml', import.meta.url))

for (const args of [
  ['check', 'rules', '--lint-fatal', rules],
  ['test', 'rules', tests],
]) {
  const { error, status } = spawnSync(promtool, args, { stdio: 'inherit' })
  if (error !== undefined) {
    process.stderr.write(`check:alerts needs promtool, in PATH or named by PROMTOOL: ${error.message}\n${INSTALL}\n`)
    process.exit(1)
  }
  if (status !== 0) process.exit(1)
}
