-- The seven fields of version 2 of the record (avro/history/0002-audit-event.avsc), null in each record of version 1.
-- The pipeline's columns stay last, as in 0001. text_is_utf8_2 is text_is_utf8 for the new texts: a constraint cannot be changed.
ALTER TABLE audit_events
  ADD COLUMN IF NOT EXISTS on_behalf_of Nullable(String) CODEC(ZSTD(1)) AFTER environment,
  ADD COLUMN IF NOT EXISTS idempotency_key Nullable(String) CODEC(ZSTD(1)) AFTER on_behalf_of,
  ADD COLUMN IF NOT EXISTS reason_code Nullable(String) CODEC(ZSTD(1)) AFTER idempotency_key,
  ADD COLUMN IF NOT EXISTS effect Nullable(String) CODEC(ZSTD(1)) AFTER reason_code,
  ADD COLUMN IF NOT EXISTS output_sha256 Nullable(FixedString(32)) CODEC(ZSTD(1)) AFTER effect,
  ADD COLUMN IF NOT EXISTS policy Nullable(String) CODEC(ZSTD(1)) AFTER output_sha256,
  ADD COLUMN IF NOT EXISTS approval Nullable(String) CODEC(ZSTD(1)) AFTER policy,
  ADD COLUMN IF NOT EXISTS output_sha256_hex Nullable(String) ALIAS lower(hex(output_sha256)),
  ADD CONSTRAINT IF NOT EXISTS text_is_utf8_2 CHECK
    ifNull(isValidUTF8(on_behalf_of), 1) AND
    ifNull(isValidUTF8(idempotency_key), 1) AND
    ifNull(isValidUTF8(reason_code), 1) AND
    ifNull(isValidUTF8(effect), 1) AND
    ifNull(isValidUTF8(policy), 1) AND
    ifNull(isValidUTF8(approval), 1);
