/** The seams to a log, and the settings of a Kafka connection. Importing this entry loads no Kafka client. */
export {
  brokersSchema,
  type GivenConnection,
  KAFKA_VARIABLES,
  type KafkaConnection,
  type KafkaEnvironment,
  type KafkaSasl,
  readKafkaEnvironment,
  saslSchema,
  secretSchema,
  sslSchema,
  tlsSchema,
} from './connection.ts'
export type { OutgoingRecord, Reached, Sender, SenderSettings, TopicPartition } from './sender.ts'
export {
  type Assignment,
  type BatchDecoder,
  type BatchDecoders,
  type CommitAnswer,
  type Committed,
  type LogPartition,
  type LogPosition,
  type LogRecord,
  type LogSlice,
  LOG_TIMES,
  type Source,
  storableLogTime,
  TopicMadeAnewError,
} from './source.ts'
