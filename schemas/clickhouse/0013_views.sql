-- Views with stable names for dbt, Grafana and Superset: what each column means is in docs/queries.md. Tables may change with the
-- record; a column of a view keeps its name and meaning. Quarantined rows are left out. A view runs with the rights of its
-- reader, who needs SELECT on audit_events and audit_quarantined.
--
-- As long as the quarantine is empty, the server drops the condition on it from the query: the scalar subquery is a constant.
CREATE VIEW IF NOT EXISTS audit_view_events AS
SELECT timestamp, log_time, event_id, event_type, session_id, agent_id, user_id, on_behalf_of, agent_version, model_id,
  lower(hex(system_prompt_hash)) AS system_prompt_hash, step_number, parent_event_id, parent_session_id, trace_id, span_id,
  outcome, reason_code, reason, effect, tool_call_id, tool_name, tool_input, tool_output,
  lower(hex(arguments_sha256)) AS arguments_sha256, execution_time_ms, error_type, error, reasoning, output_text, content,
  requires_approval, approval_id, approval_status, approver_id, environment, retention_class, producer_id,
  lower(hex(run_id)) AS run, run_seq,
  concat(lower(hex(log_id)), '/', toString(log_partition), '/', toString(log_offset)) AS position
FROM audit_events
WHERE (SELECT count() FROM audit_quarantined) = 0
  OR (log_id, log_partition, log_offset, 'event', hex(run_id), run_seq, toString(event_id), log_time) NOT IN (
    SELECT log_id, log_partition, log_offset, toString(kind), ifNull(hex(run_id), ''), ifNull(run_seq, -1), ifNull(toString(event_id), ''), log_time
    FROM audit_quarantined GROUP BY ALL HAVING argMax(released, quarantined_at) = 0);

-- One row a call of a model.
CREATE VIEW IF NOT EXISTS audit_view_model_calls AS
SELECT timestamp, event_id, session_id, agent_id, user_id, agent_version, model_id, provider, stop_reason, outcome, error_type,
  input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, cost_usd, latency_ms, environment
FROM audit_events
WHERE event_type = 'llm_call' AND ((SELECT count() FROM audit_quarantined) = 0
  OR (log_id, log_partition, log_offset, 'event', hex(run_id), run_seq, toString(event_id), log_time) NOT IN (
    SELECT log_id, log_partition, log_offset, toString(kind), ifNull(hex(run_id), ''), ifNull(run_seq, -1), ifNull(toString(event_id), ''), log_time
    FROM audit_quarantined GROUP BY ALL HAVING argMax(released, quarantined_at) = 0));

-- Calls of tools and their results, a row each.
CREATE VIEW IF NOT EXISTS audit_view_tool_events AS
SELECT timestamp, event_id, event_type, parent_event_id, session_id, agent_id, user_id, tool_name, tool_call_id,
  outcome, outcome IN ('denied', 'blocked') OR (event_type = 'tool_call' AND outcome = 'error') AS not_taken, reason_code, effect,
  requires_approval, approval_id, execution_time_ms, error_type, environment
FROM audit_events
WHERE event_type IN ('tool_call', 'tool_result') AND ((SELECT count() FROM audit_quarantined) = 0
  OR (log_id, log_partition, log_offset, 'event', hex(run_id), run_seq, toString(event_id), log_time) NOT IN (
    SELECT log_id, log_partition, log_offset, toString(kind), ifNull(hex(run_id), ''), ifNull(run_seq, -1), ifNull(toString(event_id), ''), log_time
    FROM audit_quarantined GROUP BY ALL HAVING argMax(released, quarantined_at) = 0));

-- Requests for approval, decisions and verdicts that did not count, a row each.
CREATE VIEW IF NOT EXISTS audit_view_approval_events AS
SELECT timestamp, event_id, event_type, approval_id, approval_status, session_id, agent_id, user_id, tool_name, tool_input,
  approver_id, JSONExtract(approval, 'approver_kind', 'Nullable(String)') AS approver_kind,
  JSONExtract(approval, 'identity_source', 'Nullable(String)') AS identity_source, reason_code, reason, environment
FROM audit_events
WHERE event_type IN ('approval_request', 'approval_decision') AND ((SELECT count() FROM audit_quarantined) = 0
  OR (log_id, log_partition, log_offset, 'event', hex(run_id), run_seq, toString(event_id), log_time) NOT IN (
    SELECT log_id, log_partition, log_offset, toString(kind), ifNull(hex(run_id), ''), ifNull(run_seq, -1), ifNull(toString(event_id), ''), log_time
    FROM audit_quarantined GROUP BY ALL HAVING argMax(released, quarantined_at) = 0));
