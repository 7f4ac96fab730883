-- The trail. One row an event, in the order of the log: log_id, log_partition and log_offset name the place of the
-- record in Kafka (or the embedded log), and with audit_skipped account for every offset. What each column means and in
-- which unit: avro/audit-event.avsc. Only inserted into, by the writer alone; no role updates.
--
-- The constraints refuse what must not land, leaving no row of the insert:
--   deadline            an insert sends "<lease> <deadline>" (milliseconds, this server's clock) in the setting
--                       log_comment; one that comes too late, or sends none, is refused (docs/architecture.md).
--   fenced_since_start  an insert whose lease began before this server did; the grain of uptime() is a second.
--   text_is_utf8        a String takes any bytes, readers do not.
CREATE TABLE IF NOT EXISTS audit_events
(
  run_id FixedString(16) CODEC(ZSTD(1)),
  run_seq Int64 CODEC(Delta(8), ZSTD(1)),
  producer_id String CODEC(ZSTD(1)),
  session_seq Int64 CODEC(Delta(8), ZSTD(1)),
  retention_class String CODEC(ZSTD(1)),
  event_id UUID CODEC(ZSTD(1)),
  timestamp DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  event_type LowCardinality(String),
  session_id String CODEC(ZSTD(1)),
  agent_id LowCardinality(String),
  user_id Nullable(String) CODEC(ZSTD(1)),
  agent_version Nullable(String) CODEC(ZSTD(1)),
  model_id Nullable(String) CODEC(ZSTD(1)),
  system_prompt_hash Nullable(FixedString(32)) CODEC(ZSTD(1)),
  step_number Int64 CODEC(Delta(8), ZSTD(1)),
  parent_event_id Nullable(UUID) CODEC(ZSTD(1)),
  parent_session_id Nullable(String) CODEC(ZSTD(1)),
  trace_id Nullable(String) CODEC(ZSTD(1)),
  span_id Nullable(String) CODEC(ZSTD(1)),
  outcome Nullable(String) CODEC(ZSTD(1)),
  reason Nullable(String) CODEC(ZSTD(1)),
  provider Nullable(String) CODEC(ZSTD(1)),
  stop_reason Nullable(String) CODEC(ZSTD(1)),
  reasoning Nullable(String) CODEC(ZSTD(3)),
  output_text Nullable(String) CODEC(ZSTD(3)),
  input_messages Nullable(String) CODEC(ZSTD(3)),
  tool_calls_requested Nullable(String) CODEC(ZSTD(3)),
  input_tokens Nullable(Int64) CODEC(ZSTD(1)),
  output_tokens Nullable(Int64) CODEC(ZSTD(1)),
  cache_read_tokens Nullable(Int64) CODEC(ZSTD(1)),
  cache_write_tokens Nullable(Int64) CODEC(ZSTD(1)),
  latency_ms Nullable(Int64) CODEC(ZSTD(1)),
  cost_usd Nullable(Float64) CODEC(ZSTD(1)),
  tool_call_id Nullable(String) CODEC(ZSTD(1)),
  tool_name Nullable(String) CODEC(ZSTD(1)),
  tool_input Nullable(String) CODEC(ZSTD(3)),
  tool_output Nullable(String) CODEC(ZSTD(3)),
  arguments_sha256 Nullable(FixedString(32)) CODEC(ZSTD(1)),
  error Nullable(String) CODEC(ZSTD(3)),
  error_type Nullable(String) CODEC(ZSTD(1)),
  execution_time_ms Nullable(Int64) CODEC(ZSTD(1)),
  requires_approval Bool,
  approval_id Nullable(UUID) CODEC(ZSTD(1)),
  approval_status Nullable(String) CODEC(ZSTD(1)),
  approver_id Nullable(String) CODEC(ZSTD(1)),
  content Nullable(String) CODEC(ZSTD(3)),
  field_notes Nullable(String) CODEC(ZSTD(1)),
  replay_of Nullable(String) CODEC(ZSTD(1)),
  environment Nullable(String) CODEC(ZSTD(1)),
  log_id FixedString(8) CODEC(ZSTD(1)),
  log_partition Int32 CODEC(ZSTD(1)),
  log_offset Int64 CODEC(Delta(8), ZSTD(1)),
  log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  writer_schema Int64 CODEC(ZSTD(1)),
  run_id_hex String ALIAS lower(hex(run_id)),
  system_prompt_hash_hex Nullable(String) ALIAS lower(hex(system_prompt_hash)),
  arguments_sha256_hex Nullable(String) ALIAS lower(hex(arguments_sha256)),
  log_id_hex String ALIAS lower(hex(log_id)),
  CONSTRAINT deadline CHECK toUnixTimestamp64Milli(nowInBlock64(3)) <= toInt64OrZero(splitByChar(' ', getSetting('log_comment'))[2]),
  CONSTRAINT fenced_since_start CHECK toInt64OrZero(splitByChar(' ', getSetting('log_comment'))[1]) >= (toUnixTimestamp(now()) - uptime() - 2) * 1000,
  CONSTRAINT text_is_utf8 CHECK
    isValidUTF8(producer_id) AND
    isValidUTF8(retention_class) AND
    isValidUTF8(event_type) AND
    isValidUTF8(session_id) AND
    isValidUTF8(agent_id) AND
    ifNull(isValidUTF8(user_id), 1) AND
    ifNull(isValidUTF8(agent_version), 1) AND
    ifNull(isValidUTF8(model_id), 1) AND
    ifNull(isValidUTF8(parent_session_id), 1) AND
    ifNull(isValidUTF8(trace_id), 1) AND
    ifNull(isValidUTF8(span_id), 1) AND
    ifNull(isValidUTF8(outcome), 1) AND
    ifNull(isValidUTF8(reason), 1) AND
    ifNull(isValidUTF8(provider), 1) AND
    ifNull(isValidUTF8(stop_reason), 1) AND
    ifNull(isValidUTF8(reasoning), 1) AND
    ifNull(isValidUTF8(output_text), 1) AND
    ifNull(isValidUTF8(input_messages), 1) AND
    ifNull(isValidUTF8(tool_calls_requested), 1) AND
    ifNull(isValidUTF8(tool_call_id), 1) AND
    ifNull(isValidUTF8(tool_name), 1) AND
    ifNull(isValidUTF8(tool_input), 1) AND
    ifNull(isValidUTF8(tool_output), 1) AND
    ifNull(isValidUTF8(error), 1) AND
    ifNull(isValidUTF8(error_type), 1) AND
    ifNull(isValidUTF8(approval_status), 1) AND
    ifNull(isValidUTF8(approver_id), 1) AND
    ifNull(isValidUTF8(content), 1) AND
    ifNull(isValidUTF8(field_notes), 1) AND
    ifNull(isValidUTF8(replay_of), 1) AND
    ifNull(isValidUTF8(environment), 1),
  INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX by_event event_id TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX by_time timestamp TYPE minmax GRANULARITY 1,
  PROJECTION accounted
  (
    SELECT log_id, log_partition, run_id, min(log_offset), max(log_offset), min(run_seq), max(run_seq), count()
    GROUP BY log_id, log_partition, run_id
  )
)
ENGINE = MergeTree
PARTITION BY (retention_class, toYYYYMM(log_time))
ORDER BY (log_id, log_partition, log_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;
