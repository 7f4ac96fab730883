/** Usage of a process so far, read from /proc: the process itself needs no change. */
import { readdirSync, readFileSync } from 'node:fs'

export interface Usage {
  /** User and system time since its start, microseconds; in steps of 10 ms. */
  readonly cpuUs: number
  /** Peak resident memory so far, bytes. */
  readonly peakRssBytes: number
}

/** Linux counts CPU time for user space in hundredths of a second, independent of the tick of the kernel. */
const TICK_US = 10_000

/** Throws after the process has ended. */
export function readUsage(pid: number | undefined): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in brackets may contain spaces; utime and stime are the 14th and 15th field.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return { cpuUs: (Number(fields[11]) + Number(fields[12])) * TICK_US, peakRssBytes: Number(peak) * 1024 }
}

/** Ids of the threads of this process with this name. Linux cuts names to 15 characters. */
export function threadsNamed(name: string): number[] {
  const threads = readdirSync('/proc/self/task')
  return threads.filter((id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim() === name).map(Number)
}

/** CPU of a thread of this process since its start, microseconds; in steps of nanoseconds. */
export function readThreadUs(thread: number): number {
  return Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000
}
