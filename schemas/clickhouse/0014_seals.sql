-- The seal log of a topic as the notary has it (docs/integrity.md, docs/adr/0057-what-a-consumer-seals.md): the notes of <topic>.seals
-- in the order of their offsets, and the checkpoints over them. The role of the notary inserts and reads both tables; readers
-- read; the consumer, whose seals these are, writes neither; no role updates.
--
-- A seal is proven by its note alone. The columns beside it say where to find it.

-- One row a leaf of the tree. leaf_index counts from 0 within a seal log, without a gap; a note whose bytes an earlier leaf has is
-- no leaf. Two notaries that store the same leaf send the same row under the same deduplication token.
--   producer  first_number and last_number are run_seqs of run_id, number is that of the seal within its run
--   consumer  first_number and last_number are offsets of log_id and log_partition
--   unread    a message of the topic that is no seal: it is a leaf all the same, so that the order stays Kafka's
CREATE TABLE IF NOT EXISTS audit_seals
(
  seals_log_id FixedString(8) CODEC(ZSTD(1)),
  leaf_index UInt64 CODEC(Delta(8), ZSTD(1)),
  seals_offset Int64 CODEC(Delta(8), ZSTD(1)),
  seals_topic LowCardinality(String),
  kind LowCardinality(String),
  note String CODEC(ZSTD(3)),
  key_name LowCardinality(String),
  topic LowCardinality(String),
  producer_id Nullable(String) CODEC(ZSTD(1)),
  run_id Nullable(FixedString(16)) CODEC(ZSTD(1)),
  number Nullable(Int64) CODEC(ZSTD(1)),
  log_id Nullable(FixedString(8)) CODEC(ZSTD(1)),
  log_partition Nullable(Int32) CODEC(ZSTD(1)),
  first_number Nullable(Int64) CODEC(ZSTD(1)),
  last_number Nullable(Int64) CODEC(ZSTD(1)),
  stored_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  seals_log_id_hex String ALIAS lower(hex(seals_log_id)),
  run_id_hex Nullable(String) ALIAS lower(hex(run_id)),
  log_id_hex Nullable(String) ALIAS lower(hex(log_id)),
  CONSTRAINT kind_is_known CHECK kind IN ('producer', 'consumer', 'unread'),
  CONSTRAINT note_is_given CHECK length(note) > 0,
  CONSTRAINT a_seal_says_what_it_is_of CHECK
    (kind = 'producer' AND isNotNull(producer_id) AND isNotNull(run_id) AND isNotNull(number) AND isNotNull(first_number) AND isNotNull(last_number))
    OR (kind = 'consumer' AND isNotNull(log_id) AND isNotNull(log_partition) AND isNotNull(first_number) AND isNotNull(last_number))
    OR kind = 'unread',
  INDEX by_run run_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY (seals_log_id, leaf_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

-- The checkpoints that the notary has signed: note says that the first `size` leaves have this root.
CREATE TABLE IF NOT EXISTS audit_checkpoints
(
  seals_log_id FixedString(8) CODEC(ZSTD(1)),
  size UInt64 CODEC(Delta(8), ZSTD(1)),
  origin LowCardinality(String),
  root FixedString(32),
  note String CODEC(ZSTD(3)),
  signed_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  stored_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
  seals_log_id_hex String ALIAS lower(hex(seals_log_id)),
  root_hex String ALIAS lower(hex(root)),
  CONSTRAINT note_is_given CHECK length(note) > 0 AND length(origin) > 0
)
ENGINE = MergeTree
ORDER BY (seals_log_id, size)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;
