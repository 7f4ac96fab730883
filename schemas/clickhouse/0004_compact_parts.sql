-- Parts below 256 MiB, uncompressed, are one file instead of some hundred, one or more a column: an insert opens, writes and
-- syncs as many, and each of the merges that follow it soon reads and writes them all (docs/adr/0020-small-parts-are-one-file.md).
-- What has been merged to more than that, which is most of a trail, has its columns apart, as queries like it.
ALTER TABLE audit_events MODIFY SETTING min_bytes_for_wide_part = 268435456;
