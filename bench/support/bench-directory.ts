/** The folder of one run of a benchmark: it goes with the run, and so do the processes and servers that the run has started. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stopAll } from '@agent-audit/stack'
import { stopMeasured } from './measured-process.ts'

const INTERRUPTED = 130

/** Makes the folder. SIGINT and SIGTERM end the run with it. */
export async function openBenchDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'agent-audit-bench-'))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void closeBenchDirectory(directory).finally(() => process.exit(INTERRUPTED))
    })
  }
  return directory
}

export async function closeBenchDirectory(directory: string): Promise<void> {
  await Promise.allSettled([stopMeasured(), stopAll()])
  await rm(directory, { recursive: true, force: true })
}
