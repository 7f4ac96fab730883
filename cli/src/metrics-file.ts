/**
 * A file with the metrics of one run of a command, in the text format of Prometheus: the textfile collector of the node exporter
 * reads it, a Pushgateway takes it. A command that ends cannot be scraped.
 */
import { accessSync, constants, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'

export interface FileMetric {
  readonly name: string
  readonly help: string
  readonly samples: readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number }[]
}

/** Adds the option `--metrics`. */
export function measurable(command: Command): Command {
  return command.option('--metrics <file>', 'also write metrics of this run for Prometheus, such as DIR/NAME.prom')
}

/** Called before the work: a check may take an hour. @throws InvalidInputError `OPTIONS_INVALID`. */
export function expectWritable(file: string | undefined): void {
  if (file === undefined) return
  try {
    // The slash: a file with this name is no directory, which root may write too.
    accessSync(`${dirname(file)}/`, constants.W_OK)
  } catch (error) {
    throw new InvalidInputError('OPTIONS_INVALID', `--metrics: ${reasonOf(error)}`)
  }
}

/** Replaces the file in one step: its reader never sees half of it. @returns why it could not be written. */
export async function writeMetrics(file: string, metrics: readonly FileMetric[]): Promise<string | undefined> {
  const text = await metricsText(metrics)
  // The textfile collector reads names that end in .prom only.
  const unfinished = `${file}.${process.pid}.new`
  try {
    writeFileSync(unfinished, text)
    renameSync(unfinished, file)
    return undefined
  } catch (error) {
    rmSync(unfinished, { force: true })
    return `--metrics: ${reasonOf(error)}`
  }
}

/** The text format of Prometheus. */
export async function metricsText(metrics: readonly FileMetric[]): Promise<string> {
  const { Gauge, Registry } = await import('prom-client')
  const registry = new Registry()
  // prom-client gives a metric without samples the value 0.
  for (const { name, help, samples } of metrics.filter((metric) => metric.samples.length > 0)) {
    const labelNames = [...new Set(samples.flatMap(({ labels }) => Object.keys(labels ?? {})))]
    const gauge = new Gauge({ name, help, labelNames, registers: [registry] })
    for (const { labels, value } of samples) gauge.set(labels ?? {}, value)
  }
  return registry.metrics()
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
