-- Forged rows, out of the count without being removed (docs/runbooks/forged-rows.md, docs/adr/0031-a-stolen-writer-password.md):
-- the consumer stores the record of the log at an offset whose rows are all quarantined, and verify leaves them out of its
-- counts. An administrator inserts; the consumer and readers only read; no role updates.
--
-- The columns up to log_time are those of the row that is meant: kind is event, or the kind of a skipped row. The latest entry of
-- a row counts: one with released = 1 takes the quarantine back.
CREATE TABLE IF NOT EXISTS audit_quarantined
(
  log_id FixedString(8) CODEC(ZSTD(1)),
  log_partition Int32 CODEC(ZSTD(1)),
  log_offset Int64 CODEC(ZSTD(1)),
  kind LowCardinality(String),
  run_id Nullable(FixedString(16)) CODEC(ZSTD(1)),
  run_seq Nullable(Int64) CODEC(ZSTD(1)),
  event_id Nullable(UUID) CODEC(ZSTD(1)),
  log_time DateTime64(3, 'UTC') CODEC(ZSTD(1)),
  reason String CODEC(ZSTD(1)),
  released Bool DEFAULT false,
  quarantined_by String DEFAULT currentUser() CODEC(ZSTD(1)),
  quarantined_at DateTime64(6, 'UTC') DEFAULT now64(6) CODEC(ZSTD(1)),
  run_id_hex Nullable(String) ALIAS lower(hex(run_id)),
  log_id_hex String ALIAS lower(hex(log_id)),
  CONSTRAINT reason_is_given CHECK length(reason) > 0
)
ENGINE = MergeTree
ORDER BY (log_id, log_partition, log_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
