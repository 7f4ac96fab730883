/** Reads the metrics that a consumer serves. */

/** Sums the samples of a metric over those of its labels that are not asked for; undefined if there are none. */
export function readMetric(text: string, name: string, label = ''): number | undefined {
  const samples = text.split('\n').filter((line) => /^\w+/.exec(line)?.[0] === name && line.includes(label))
  if (samples.length === 0) return undefined
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}
