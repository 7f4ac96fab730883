-- Expiry notes: what retention drops, written before it drops it (docs/adr/0028-expiry-notes.md). Without a note, a dropped row
-- looks like one that was never stored. The role that drops partitions inserts into both tables; the consumer only reads the
-- first one; no role updates.
--
-- A note claims no more than one month of one retention class, and only a month that is over.

-- Offsets that had a row, in audit_events or audit_skipped, of this class and month. Notes may overlap: the same range may be
-- noted again after a crash.
CREATE TABLE IF NOT EXISTS audit_expired
(
  log_id FixedString(8) CODEC(ZSTD(1)),
  log_partition Int32 CODEC(ZSTD(1)),
  first_offset Int64 CODEC(Delta(8), ZSTD(1)),
  last_offset Int64 CODEC(Delta(8), ZSTD(1)),
  retention_class String CODEC(ZSTD(1)),
  month UInt32 CODEC(ZSTD(1)),
  noted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  log_id_hex String ALIAS lower(hex(log_id)),
  CONSTRAINT range_is_valid CHECK first_offset >= 0 AND first_offset <= last_offset,
  CONSTRAINT month_is_over CHECK month < toYYYYMM(now('UTC')) AND month % 100 BETWEEN 1 AND 12
)
ENGINE = MergeTree
ORDER BY (log_id, log_partition, first_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

-- Numbers of runs that rows of this class and month explained:
--   event  an event had the number
--   dead   a dead letter had it
--   lost   an events_lost event said that no event has it
CREATE TABLE IF NOT EXISTS audit_expired_runs
(
  run_id FixedString(16) CODEC(ZSTD(1)),
  first_run_seq Int64 CODEC(Delta(8), ZSTD(1)),
  last_run_seq Int64 CODEC(Delta(8), ZSTD(1)),
  kind LowCardinality(String),
  retention_class String CODEC(ZSTD(1)),
  month UInt32 CODEC(ZSTD(1)),
  noted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  run_id_hex String ALIAS lower(hex(run_id)),
  CONSTRAINT range_is_valid CHECK first_run_seq >= 0 AND first_run_seq <= last_run_seq,
  CONSTRAINT kind_is_known CHECK kind IN ('event', 'dead', 'lost'),
  CONSTRAINT month_is_over CHECK month < toYYYYMM(now('UTC')) AND month % 100 BETWEEN 1 AND 12
)
ENGINE = MergeTree
ORDER BY (run_id, first_run_seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;
