/**
 * Metadata of version 12, which has the ids of topics (KIP-516); kafkajs ends at version 6. Brokers before 3.1 go on with that
 * one. Format: https://kafka.apache.org/protocol#The_Messages_Metadata.
 */
import { createRequire } from 'node:module'

interface Decoder {
  offset: number
  readInt16(): number
  readInt32(): number
  readBoolean(): boolean
  readBytes(length: number): Buffer
  readUVarInt(): number
  readUVarIntString(): string | null
  readUVarIntArray<T>(read: (decoder: Decoder) => T): T[] | null
}
interface Encoder {
  writeBoolean(value: boolean): Encoder
  writeBuffer(bytes: Buffer): Encoder
  writeUVarInt(value: number): Encoder
  writeUVarIntString(text: string): Encoder
}
interface Definition {
  versions: string[]
  protocol: (of: { version: number }) => (given: Given) => unknown
}
interface Given {
  readonly topics: readonly string[]
  readonly allowAutoTopicCreation?: boolean
}

const load = createRequire(import.meta.url)
const KafkajsDecoder = load('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => Decoder
const KafkajsEncoder = load('kafkajs/src/protocol/encoder') as new () => Encoder
const definition = load('kafkajs/src/protocol/requests/metadata') as Definition
const { parse } = load('kafkajs/src/protocol/requests/metadata/v6/response') as { parse: unknown }

const API_KEY = 3
const WITH_IDS = 12
const WITHOUT_IDS = 6
const ID_BYTES = 16
const NO_TAGS = 0

/** Each partition of a topic's metadata then has `topicId`, in the words of Kafka's tools: kafkajs passes these objects on. */
export function askForTopicIds(): void {
  const { versions, protocol } = definition
  if (versions.includes(String(WITH_IDS))) return
  definition.versions = [...versions, String(WITH_IDS)]
  definition.protocol = ({ version }) =>
    version < WITH_IDS
      ? protocol({ version: Math.min(version, WITHOUT_IDS) })
      : (given) => ({ request: requestOf(given), response: { decode: readMetadata, parse } })
}

function requestOf({ topics, allowAutoTopicCreation = true }: Given): unknown {
  return { apiKey: API_KEY, apiVersion: WITH_IDS, apiName: 'Metadata', encode: () => encode(topics) }

  async function encode(names: readonly string[]): Promise<Encoder> {
    // The header of a flexible version ends with tags, which kafkajs does not write. No topics: all.
    const encoder = new KafkajsEncoder().writeUVarInt(NO_TAGS).writeUVarInt(names.length === 0 ? 0 : names.length + 1)
    for (const name of names) encoder.writeBuffer(Buffer.alloc(ID_BYTES)).writeUVarIntString(name).writeUVarInt(NO_TAGS)
    return encoder.writeBoolean(allowAutoTopicCreation).writeBoolean(false).writeUVarInt(NO_TAGS)
  }
}

async function readMetadata(bytes: Buffer): Promise<unknown> {
  const decoder = new KafkajsDecoder(bytes)
  skipTags(decoder)
  return {
    throttleTime: 0,
    clientSideThrottleTime: decoder.readInt32(),
    brokers: decoder.readUVarIntArray((of) =>
      tagged(of, {
        nodeId: of.readInt32(),
        host: of.readUVarIntString(),
        port: of.readInt32(),
        rack: of.readUVarIntString(),
      }),
    ),
    clusterId: decoder.readUVarIntString(),
    controllerId: decoder.readInt32(),
    topicMetadata: decoder.readUVarIntArray(readTopic),
  }
}

function readTopic(decoder: Decoder): unknown {
  const topicErrorCode = decoder.readInt16()
  const topic = decoder.readUVarIntString()
  const topicId = decoder.readBytes(ID_BYTES).toString('base64url')
  const isInternal = decoder.readBoolean()
  const partitionMetadata = decoder.readUVarIntArray((of) => readPartition(of, topicId))
  // The operations that the caller may do, which were not asked for.
  decoder.readInt32()
  return tagged(decoder, { topicErrorCode, topic, isInternal, partitionMetadata })
}

function readPartition(decoder: Decoder, topicId: string): unknown {
  const head = {
    topicId,
    partitionErrorCode: decoder.readInt16(),
    partitionId: decoder.readInt32(),
    leader: decoder.readInt32(),
    leaderEpoch: decoder.readInt32(),
  }
  const readIds = (): number[] | null => decoder.readUVarIntArray((of) => of.readInt32())
  return tagged(decoder, { ...head, replicas: readIds(), isr: readIds(), offlineReplicas: readIds() })
}

function tagged<T>(decoder: Decoder, fields: T): T {
  skipTags(decoder)
  return fields
}

function skipTags(decoder: Decoder): void {
  for (let left = decoder.readUVarInt(); left > 0; left--) {
    decoder.readUVarInt()
    const bytes = decoder.readUVarInt()
    decoder.offset += bytes
  }
}
