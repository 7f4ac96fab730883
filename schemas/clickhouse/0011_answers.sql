-- What questions are answered from, beside the rows in the order of the log (docs/adr/0047-what-questions-are-answered-from.md):
--   sessions       where a session's events stand: a trail reads the stretch of the log that has them
--   hours          sums of the hours of each agent, by type and model: detectors compare hours
--   days           tokens and costs of the days of each agent, by type and model, those without a recorded cost apart
--   by_event_time  the time that an event id names (UUIDv7): an event is found by its id alone. 1970 for other ids
ALTER TABLE audit_events
  ADD INDEX IF NOT EXISTS by_event_time UUIDv7ToDateTime(event_id) TYPE minmax GRANULARITY 1,
  ADD PROJECTION IF NOT EXISTS sessions
  (
    SELECT
      session_id, agent_id, log_id, log_partition,
      min(log_offset), max(log_offset), min(timestamp), max(timestamp), count()
    GROUP BY session_id, agent_id, log_id, log_partition
  ) WITH SETTINGS (index_granularity = 512),
  ADD PROJECTION IF NOT EXISTS hours
  (
    SELECT
      toStartOfHour(timestamp), agent_id, event_type, model_id,
      count(), max(timestamp),
      countIf(toString(error) IS NOT NULL OR (outcome = 'error' AND event_type NOT IN ('session_end', 'session_timeout'))),
      countIf(outcome = 'denied'), countIf(outcome = 'blocked'),
      sum(toInt128(input_tokens)), sum(toInt128(output_tokens)), sum(toInt128(cache_read_tokens)), sum(toInt128(cache_write_tokens)),
      sum(cost_usd), sum(latency_ms)
    GROUP BY toStartOfHour(timestamp), agent_id, event_type, model_id
  ),
  ADD PROJECTION IF NOT EXISTS days
  (
    WITH
      cost_usd + 0 IS NULL AND input_tokens + 0 IS NOT NULL AND output_tokens + 0 IS NOT NULL AS open,
      ifNull(toInt128(cache_read_tokens), 0) + ifNull(toInt128(cache_write_tokens), 0) AS cached
    SELECT
      toDate(timestamp), agent_id, event_type, model_id,
      countIf(event_type = 'llm_call' OR input_tokens + 0 IS NOT NULL OR output_tokens + 0 IS NOT NULL OR cost_usd + 0 IS NOT NULL),
      countIf(cost_usd + 0 IS NOT NULL), sum(cost_usd), countIf(open),
      sum(toInt128(input_tokens)), sum(toInt128(output_tokens)), sum(toInt128(cache_read_tokens)), sum(toInt128(cache_write_tokens)),
      sum(toInt128(input_tokens) - cached),
      sumIf(greatest(ifNull(toInt128(input_tokens), 0) - cached, 0), open), sumIf(ifNull(toInt128(output_tokens), 0), open),
      sumIf(ifNull(toInt128(cache_read_tokens), 0), open), sumIf(ifNull(toInt128(cache_write_tokens), 0), open)
    GROUP BY toDate(timestamp), agent_id, event_type, model_id
  );
-- Of parts that are there already, in the background.
ALTER TABLE audit_events MATERIALIZE INDEX by_event_time;
ALTER TABLE audit_events MATERIALIZE PROJECTION sessions;
ALTER TABLE audit_events MATERIALIZE PROJECTION hours;
ALTER TABLE audit_events MATERIALIZE PROJECTION days;
