/** What a producer may take during an outage, above what it takes idle, MiB. */
export const MOST_ABOVE_IDLE_MB = 64
