-- Kafka's id of a topic, as its tools print it. A topic that was made anew under its name has another one: then its rows are not
-- those of the log, and no consumer writes more of them. Empty: not known; a later row of the log may have it.
ALTER TABLE audit_logs ADD COLUMN IF NOT EXISTS topic_id String DEFAULT '' AFTER topic;
