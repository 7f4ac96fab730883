-- Every offset of the log that did not become an event, each once, with its reason:
--   duplicate  the same (run_id, run_seq) is in audit_events: a producer sent it again
--   dead       a record that cannot be stored; its bytes are kept in key, value and headers
--   hole       an offset the broker holds no record for, such as the marker of a transaction
-- Partitioned as audit_events is, so that dropping a class's month takes the skipped offsets between its events along, and
-- leaves no gap. retention_class is that of the batch that the row was written with (docs/adr/0028-expiry-notes.md).
CREATE TABLE IF NOT EXISTS audit_skipped
(
  kind LowCardinality(String),
  reason String CODEC(ZSTD(1)),
  retention_class String CODEC(ZSTD(1)),
  run_id Nullable(FixedString(16)) CODEC(ZSTD(1)),
  run_seq Nullable(Int64) CODEC(ZSTD(1)),
  key Nullable(String) CODEC(ZSTD(3)),
  value Nullable(String) CODEC(ZSTD(3)),
  headers Nullable(String) CODEC(ZSTD(3)),
  log_id FixedString(8) CODEC(ZSTD(1)),
  log_partition Int32 CODEC(ZSTD(1)),
  log_offset Int64 CODEC(Delta(8), ZSTD(1)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  run_id_hex Nullable(String) ALIAS lower(hex(run_id)),
  log_id_hex String ALIAS lower(hex(log_id)),
  CONSTRAINT deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3)) <= toInt64OrZero(splitByChar(' ', getSetting('log_comment'))[2]),
  CONSTRAINT fenced_since_start CHECK toInt64OrZero(splitByChar(' ', getSetting('log_comment'))[1]) >= (toUnixTimestamp(now()) - uptime() - 2) * 1000
)
ENGINE = MergeTree
PARTITION BY (retention_class, toYYYYMM(log_time))
ORDER BY (log_id, log_partition, log_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;
