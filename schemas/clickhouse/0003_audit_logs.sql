-- Which log a log_id is, and the one consumer group that may write its rows: a second group would be fenced by nothing.
-- `agent-audit setup` adds a row for each topic; the consumer refuses to write a log that is not here under its group.
CREATE TABLE IF NOT EXISTS audit_logs
(
  log_id FixedString(8),
  source_id String,
  topic String,
  consumer_group String,
  registered_at DateTime64(3, 'UTC') DEFAULT now64(3),
  log_id_hex String ALIAS lower(hex(log_id))
)
ENGINE = MergeTree
ORDER BY (log_id, registered_at);
