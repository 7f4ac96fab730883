/** Values that are read when they are asked for; among them what the process uses, under the names of Prometheus's own clients. */
import { Counter, Gauge, type Registry } from 'prom-client'

export function addGauge(registry: Registry, gauge: { name: string; help: string; read: () => number }): Gauge {
  const { name, help, read } = gauge
  return new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read())
    },
  })
}

/** prom-client's default metrics would add 30 series, a timer, and an observer of the many small garbage collections. */
export function addProcessMetrics(registry: Registry): void {
  registry.registerMetric(cpuSeconds())
  const rss = { name: 'process_resident_memory_bytes', help: 'Resident memory, bytes.' }
  addGauge(registry, { ...rss, read: () => process.memoryUsage.rss() })
  const startedAt = Date.now() / 1000 - process.uptime()
  const start = { name: 'process_start_time_seconds', help: 'When the process started, seconds since 1970.' }
  addGauge(registry, { ...start, read: () => startedAt })
}

function cpuSeconds(): Counter {
  let counted = 0
  return new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time, seconds.',
    registers: [],
    collect() {
      const { user, system } = process.cpuUsage()
      const seconds = (user + system) / 1e6
      this.inc(seconds - counted)
      counted = seconds
    },
  })
}
