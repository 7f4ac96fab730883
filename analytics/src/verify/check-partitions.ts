/** Checks that every offset of every partition is accounted for once. */
import { askInChunks } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import type { PartitionReport } from './completeness-report.ts'
import { ALTERED_OFFSETS, LOGS, OFFSET_STEPS, PARTITIONS } from './completeness-queries.ts'
import { isRepeat, sortSteps } from './steps.ts'

/** @param limit - Most gaps and repeats to name. */
export async function checkPartitions(
  analytics: Analytics,
  limit: number,
): Promise<{ reports: PartitionReport[]; truncated: boolean }> {
  const rows = await analytics.rows<Row>(PARTITIONS)
  const logs = new Map((await analytics.rows<Row>(LOGS)).map((row) => [text(row, 'log_id_hex'), row]))
  const uneven = rows.some(
    (row) => number(row, 'rows') !== number(row, 'different') || number(row, 'span') !== number(row, 'different'),
  )
  const found = uneven ? await analytics.rows<Row>(OFFSET_STEPS, { limit }) : []
  const steps = Map.groupBy(found, partitionOf)
  const altered = await findAltered(analytics, found.filter(isRepeat))
  const reports = rows.map((row) => {
    const partition = partitionOf(row)
    const { gaps, repeats } = sortSteps(steps.get(partition))
    return {
      ...identityOf(row, logs.get(text(row, 'log_id_hex'))),
      events: number(row, 'events'),
      duplicates: number(row, 'duplicates'),
      dead_letters: number(row, 'dead_letters'),
      holes: number(row, 'holes'),
      missing: number(row, 'span') - number(row, 'different'),
      repeated: number(row, 'rows') - number(row, 'different'),
      gaps,
      repeats: repeats.map(({ at, times }) => ({
        offset: at,
        times: times + 1,
        altered: altered.has(`${partition}/${at}`),
      })),
    }
  })
  return { reports, truncated: found.length >= limit }
}

function identityOf(
  row: Row,
  log: Row | undefined,
): Pick<PartitionReport, 'log_id' | 'topic' | 'source_id' | 'partition' | 'first_offset' | 'last_offset'> {
  return {
    log_id: text(row, 'log_id_hex'),
    topic: log === undefined ? null : text(log, 'topic'),
    source_id: log === undefined ? null : text(log, 'source_id'),
    partition: number(row, 'log_partition'),
    first_offset: number(row, 'first'),
    last_offset: number(row, 'last'),
  }
}

async function findAltered(analytics: Analytics, repeats: readonly Row[]): Promise<Set<string>> {
  const rows = await askInChunks(repeats, (piece) => {
    return analytics.rows<Row>(ALTERED_OFFSETS, {
      logs: piece.map((row) => text(row, 'log_id_hex')),
      partitions: piece.map((row) => number(row, 'log_partition')),
      offsets: piece.map((row) => number(row, 'at')),
    })
  })
  return new Set(rows.map((row) => `${partitionOf(row)}/${text(row, 'log_offset')}`))
}

function partitionOf(row: Row): string {
  return `${text(row, 'log_id_hex')}/${text(row, 'log_partition')}`
}
