-- What detectors have found in the trail (docs/detect.md, docs/adr/0052-detectors-as-jobs.md). The role of the detectors inserts into
-- these four tables and reads the trail; no role updates.

-- One row a finding. finding_id is derived from the detector and the cause, so the same cause has the same id whenever and by
-- whichever worker it is found. Readers take the first row of an id: two workers that find a cause at the same moment may both
-- insert, with the deduplication token of the finding, which this table keeps for so many inserts.
CREATE TABLE IF NOT EXISTS audit_findings
(
  finding_id UUID CODEC(ZSTD(1)),
  detector LowCardinality(String),
  version UInt32 CODEC(ZSTD(1)),
  cause String CODEC(ZSTD(1)),
  severity LowCardinality(String),
  score Float64 CODEC(ZSTD(1)),
  agent_id String CODEC(ZSTD(1)),
  session_id Nullable(String) CODEC(ZSTD(1)),
  summary String CODEC(ZSTD(3)),
  signals String CODEC(ZSTD(3)),
  evidence Array(UUID) CODEC(ZSTD(1)),
  thresholds String CODEC(ZSTD(1)),
  run UUID CODEC(ZSTD(1)),
  found_at DateTime64(6, 'UTC') DEFAULT now64(6) CODEC(Delta(8), ZSTD(1)),
  found_by String DEFAULT currentUser() CODEC(ZSTD(1)),
  CONSTRAINT severity_is_known CHECK severity IN ('info', 'low', 'medium', 'high', 'critical'),
  CONSTRAINT score_is_a_share CHECK score >= 0 AND score <= 1
)
ENGINE = MergeTree
ORDER BY finding_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

-- Where each detector stands in each partition of a log: everything below log_offset is judged and its findings are stored. The
-- highest offset counts: of two workers, the slower one takes nothing back.
CREATE TABLE IF NOT EXISTS audit_detector_cursors
(
  detector LowCardinality(String),
  log_id FixedString(8),
  log_partition Int32,
  log_offset SimpleAggregateFunction(max, Int64),
  log_id_hex String ALIAS lower(hex(log_id))
)
ENGINE = AggregatingMergeTree
ORDER BY (detector, log_id, log_partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- One row for each range of the log that a worker has judged.
CREATE TABLE IF NOT EXISTS audit_detector_runs
(
  run UUID CODEC(ZSTD(1)),
  detectors Array(LowCardinality(String)) CODEC(ZSTD(1)),
  failed Array(LowCardinality(String)) CODEC(ZSTD(1)),
  events UInt64 CODEC(ZSTD(1)),
  sessions UInt64 CODEC(ZSTD(1)),
  findings UInt64 CODEC(ZSTD(1)),
  took_ms UInt32 CODEC(ZSTD(1)),
  ended_at DateTime64(6, 'UTC') DEFAULT now64(6) CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
ORDER BY ended_at;

-- Alerts that a target has taken. A worker that is killed between sending and this row sends once more, with the same id.
CREATE TABLE IF NOT EXISTS audit_alerts
(
  finding_id UUID CODEC(ZSTD(1)),
  target String CODEC(ZSTD(1)),
  attempts UInt32 CODEC(ZSTD(1)),
  delivered_at DateTime64(6, 'UTC') DEFAULT now64(6) CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (target, finding_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
