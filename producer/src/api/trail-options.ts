/** Options of a trail. */
import type { KafkaSasl } from '@agent-audit/kafka'
import type { ClientTls, RegistryAccess, TrailError } from '@agent-audit/schemas'
import type { EncryptionOptions } from './encryption.ts'

/**
 * From when on an event counts as stored. `disk`: committed to the local spool, survives the process being killed.
 * `broker`: acknowledged by all in-sync replicas, survives the loss of the host; not on the embedded log. `memory`: buffered, survives nothing.
 */
export type Durability = 'disk' | 'broker' | 'memory'

/** `agentId` is required, and a destination: brokers or `dataDir`, here or in the environment. Every wrong option is named at once: `OPTIONS_INVALID`. */
export interface AuditTrailOptions {
  /** Stamped on every event; a session may say otherwise. */
  agentId: string
  /** Stamped on every event; a session may say otherwise. */
  agentVersion?: string | undefined
  /** Stamped on every event; a session or an llm_call may say otherwise. */
  modelId?: string | undefined
  /** Class that says how long the records are kept; each class has its own topic. @defaultValue 'default' */
  retentionClass?: string | undefined
  /** Name of this producer. @defaultValue agentId */
  producerId?: string | undefined
  /** The text, which is hashed and recorded once a run; or only its SHA-256, as 64 hex digits. */
  systemPrompt?: string | { sha256: string } | undefined
  /** Topic of the class `default`; the topics of other classes append `.<class>`. No name below `audit.events`. @defaultValue 'audit.events' */
  topic?: string | undefined
  /** Confluent Schema Registry API; unset: Avro single-object encoding. */
  schemaRegistryUrl?: string | undefined
  /**
   * How the registry knows the producer: basic authentication, and TLS for an https URL.
   * @defaultValue env SCHEMA_REGISTRY_USERNAME, _PASSWORD and SCHEMA_REGISTRY_SSL_CA, _CERT, _KEY, _KEY_PASSWORD
   */
  schemaRegistryAccess?: RegistryAccess | undefined
  /** `host:port`, or `[::1]:9092`. @defaultValue env KAFKA_BROKERS, comma separated */
  brokers?: readonly string[] | undefined
  /**
   * Directory of the embedded log, which stands in for brokers on one host. If given, it is used whether KAFKA_BROKERS is set
   * or not. @defaultValue without brokers: env AUDIT_DATA_DIR. With none of the four: `OPTIONS_INVALID`
   */
  dataDir?: string | undefined
  /** TLS to the brokers. @defaultValue false; for brokers of the environment KAFKA_SSL, KAFKA_SSL_CA, _CERT, _KEY and _KEY_PASSWORD */
  ssl?: boolean | ClientTls | undefined
  /** SASL credentials. Unset: no authentication; for brokers of the environment KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD. */
  sasl?: KafkaSasl | undefined
  /** 'broker' and 'memory' open no spool. The embedded log cannot give 'broker': `OPTIONS_INVALID`. @defaultValue 'disk' */
  durability?: Durability | undefined
  /**
   * The Ed25519 private key that the trail seals its records with: PKCS8 PEM, as `agent-audit keys generate` writes it, in a file
   * that only its owner can read, or as text. Its name is the producer's. A key that cannot be used is `OPTIONS_INVALID`. Or the
   * Unix socket of `agent-audit signer`, which has the key in a process of its own; while it is away, seals wait.
   * @defaultValue env AUDIT_SIGNING_KEY_FILE, AUDIT_SIGNING_KEY (the text) or AUDIT_SIGNER_SOCKET; with none, the records are not sealed
   */
  signing?:
    | {
        /** Path of the key. */
        keyFile: string
      }
    | {
        /** The key's text. */
        key: string
      }
    | {
        /** Path of the signer's socket. */
        socket: string
      }
    | undefined
  /** One fsync a group commit, so that stored events survive power loss. @defaultValue false */
  fsync?: boolean | undefined
  /**
   * Directory of the spools. Processes share it. A spool belongs to the cluster that it was recorded for. The default with
   * brokers depends on the working directory: a process warning, `SPOOL_DIR_UNNAMED`, says its absolute path at the start.
   * @defaultValue env AUDIT_SPOOL_DIR, else `spool` in the data directory, './.audit-spool' with brokers
   */
  spoolDir?: string | undefined
  /**
   * Whether events may go to another cluster than the one they were recorded for: those that dead runs left, and those of this
   * run when the brokers turn out to be another cluster. False: they stay where they are, and `CLUSTER_CHANGED` is reported.
   * @defaultValue false
   */
  toAnyCluster?: boolean | undefined
  /** Most bytes of events on disk that are not acknowledged, 1 MiB to 1 TiB. @defaultValue 1 GiB */
  spoolMaxBytes?: number | undefined
  /** When the spool is full: keep events in memory until there is room, or refuse them. @defaultValue 'wait' */
  onFull?: 'wait' | 'refuse' | undefined
  /** Most bytes of encoded events in memory, 1 MiB to 1 GiB; above it events are refused, whatever onFull says. @defaultValue 16 MiB */
  maxBufferBytes?: number | undefined
  /**
   * What a guard does when its call cannot be stored: refuse to run the tool, or run it all the same. For all tools, or by
   * tool_name, where the key `tool_call` stands for every tool without an entry. @defaultValue 'refuse'
   */
  onUnavailable?: 'refuse' | 'proceed' | Readonly<Record<string, 'refuse' | 'proceed'>> | undefined
  /**
   * What a guard does when its tool has run and the result cannot be stored: throw `RESULT_NOT_RECORDED`, which holds the
   * tool's value or error, or give the caller the tool's own value or error and tell `onProblem`. @defaultValue 'report'
   */
  onResultUnavailable?: 'throw' | 'report' | undefined
  /** Longest wait of a guard, a request or a decision for its record, 1 to 600000 milliseconds. @defaultValue 10000 */
  guardTimeoutMs?: number | undefined
  /**
   * Claims an approval (its approval_id) or an override (its event_id, or the id that is signed) before the action runs. MUST answer true to the first
   * call for an id and false to every later one, from any process; any other answer is an error, and the action does not run. Needed where agents on several hosts may get the same
   * approval; a unique key in a database that they share does it. @defaultValue claims among the processes that share a
   * spool directory; without a spool, within this process
   */
  claimApproval?: ((id: string) => boolean | Promise<boolean>) | undefined
  /**
   * Whether the agent that asks, or the user or principal that it acts for, may approve or override its own calls. Each such
   * approval is marked in its records (`approval.self_approval`). @defaultValue false: refused with `SELF_APPROVAL`
   */
  allowSelfApproval?: boolean | undefined
  /**
   * The private key that signs the decisions and overrides that are recorded with this trail: an approver's own, or that of a
   * service that knows its approvers. Give it to the process that decides, not to the agent's. A key that cannot be used is
   * `OPTIONS_INVALID`. @defaultValue env AUDIT_APPROVAL_KEY_FILE; with none, they are not signed
   */
  approvalSigning?:
    | {
        /** Path of the key. */
        keyFile: string
      }
    | {
        /** The key's text. */
        key: string
      }
    | undefined
  /**
   * The trust file: guards run nothing on a decision or an override without a signature that it lets count. It is read for each
   * decision.
   * @defaultValue env AUDIT_APPROVAL_TRUST_FILE and AUDIT_APPROVAL_TRUST_ROOT; with none, decisions need no signature
   */
  approvalTrust?:
    | {
        /** Path of the trust file. */
        file: string
        /** vkey of the root key that must have signed the file. @defaultValue the file need not be signed */
        root?: string | undefined
      }
    | undefined
  /**
   * input_messages of an llm_call: record only the messages that the session has not recorded yet, or all of them. 'new' knows
   * a message by its object, and sees an edit in place of its first 1000 keys and values (a text is one value): then the whole
   * history is recorded again, as after any change that is no addition at the end. @defaultValue 'new'
   */
  inputMessages?: 'full' | 'new' | undefined
  /** Most bytes of one encoded event, 4 KiB to 8 MiB. @defaultValue 512 KiB */
  maxRecordBytes?: number | undefined
  /**
   * Larger events: cut the longest field and note it, or throw `RECORD_TOO_LARGE`. The text of an error (`error`) is cut in both
   * cases: it never replaces the error with `RECORD_TOO_LARGE`. @defaultValue 'cut'
   */
  onOversize?: 'cut' | 'refuse' | undefined
  /**
   * Redaction of an event's texts before it is encoded. 'secrets': values under the built-in key names, and keys and tokens
   * of common services; rules are added to that; 'off': nothing. arguments_sha256 stays the digest of the true arguments.
   * session_id, agent_id and the other fields that name the session or the trail are recorded as given: put no secret there.
   * @defaultValue 'secrets'
   */
  redact?: Redact | undefined
  /**
   * Texts that are encrypted under a data key of their subject, so that `agent-audit erase` can make them unreadable later.
   * Redaction comes before. Unset: nothing is encrypted.
   */
  encryption?: EncryptionOptions | undefined
  /** Deployment environment: production, staging and the like. */
  environment?: string | undefined
  /**
   * For OpenTelemetry: `() => trace.getActiveSpan()?.spanContext()`. Called at every event. A traceId that is not 32 hex digits
   * or a spanId that is not 16 is left out, and the other with it: redaction does not look at them.
   */
  traceContext?: (() => { traceId: string; spanId: string } | undefined) | undefined
  /** For imports: field_notes of every event say that its timestamp is not when it happened. @defaultValue false */
  syntheticTimestamps?: boolean | undefined
  /**
   * Hands events over on exit, SIGTERM, SIGINT and uncaught errors; changes no exit code. In a worker thread: when the thread
   * ends by itself. Of a thread that is terminated, as process.exit() of the main thread does, only stored events are kept.
   * @defaultValue true
   */
  handleExit?: boolean | undefined
  /** Called for trouble that no receipt shows, at most once a second for each error code. @defaultValue process.emitWarning */
  onProblem?: ((problem: TrailError) => void) | undefined
}

/**
 * Redaction rules beside 'secrets', applied before an event is encoded. A hit becomes `[redacted:rule]` and
 * is counted in field_notes: `{"tool_output":{"redacted":{"email":2}}}`. A rule that throws drops that field, keeps the
 * event and notes `redaction_failed`. The rules apply in the order of these options. Fields that name a person or thing (user_id,
 * approver_id, on_behalf_of, idempotency_key, tool_call_id, tool_name, model_id, provider, stop_reason, error_type, policy,
 * approval) lose tokens only, unless `paths` names them.
 */
export interface RedactionRules {
  /**
   * Keys whose values are secret, at any depth and in any case, added to the built-in (password, api_key, token, cookie and
   * the like; `-` and `_` are ignored). A string is a whole key, and is looked for as `key=value` and `"key": "value"`
   * in text too; a RegExp is tried on every key, which costs more. Rule `key`.
   */
  keys?: readonly (string | RegExp)[] | undefined
  /**
   * Paths in the record: `reason`, `input_messages[*].content`, `content.user_message`, `tool_output.rows[0].name`; `[*]` is
   * any element, `.*` any key. With inputMessages 'new' an index counts from the first message recorded. Rule `path`.
   */
  paths?: readonly string[] | undefined
  /**
   * Patterns in text: e-mail addresses, card numbers (Luhn), IBANs (check digits), phone numbers, or the caller's own pattern,
   * which MUST be linear in the text (no nested quantifiers); every match is replaced, whether it is global or not. 'secrets'
   * (keys and tokens of common services, private keys, passwords) always applies and need not be named.
   */
  patterns?: readonly ('email' | 'card' | 'iban' | 'phone' | 'secrets' | OwnPattern)[] | undefined
  /** Called last with every text and its path, such as `tool_output.rows[0].name`; its result is recorded. Rule `custom`. */
  custom?: ((text: string, path: string) => string) | undefined
}

/** A caller's own pattern. */
export interface OwnPattern {
  /** Name of the rule in the marker; letters, digits, `_`, `.` and `-`. */
  name: string
  /** Linear in the text; its flags `g` and `y` are ignored. */
  pattern: RegExp
}

/** 'secrets': only the built-in keys and patterns of secrets. 'off': no redaction. */
export type Redact = 'secrets' | 'off' | RedactionRules
