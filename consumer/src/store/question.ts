/** What the queries about one partition share: how they are asked, and the condition that keeps them within the primary key. */

/** A query about one partition. It may use the parameters `log` and `partition`. */
export interface Question {
  /** Names the query in an error: `the last row`. */
  readonly what: string
  readonly query: string
  readonly parameters?: Readonly<Record<string, unknown>>
}

export interface PartitionStore {
  /** Topic and partition, for errors. */
  readonly name: string
  /** @throws AuditUnavailableError `STORE_UNAVAILABLE`, `STORE_LIMIT`; IntegrityError `ACCESS_DENIED`, `STORE_REFUSED` */
  ask<Row>(question: Question): Promise<Row[]>
}

export const IN_PARTITION = 'log_id = unhex({log:String}) AND log_partition = {partition:Int32}'
/** The order of the primary key: with a LIMIT, ClickHouse reads one granule of each part from its end. */
export const LAST_FIRST = 'ORDER BY log_id DESC, log_partition DESC, log_offset DESC'
export const FIRST_FIRST = 'ORDER BY log_id, log_partition, log_offset'

/**
 * Offsets that one query looks at, so that its time and memory do not grow with the partition: 20 bytes are read of each, which
 * takes two cores some 60 ms. With a quarter as many, what each query costs by itself, some 6 ms, would begin to show.
 */
export const OFFSETS_A_QUERY: number = 2 ** 22
