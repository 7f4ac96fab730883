/** Which version of the metadata request a broker gets: the one with the ids of topics, or kafkajs's newest. */
import { createRequire } from 'node:module'
import { createKafkaSource } from '@agent-audit/kafka/source'
import { expect, it } from 'vitest'

interface Requests {
  readonly requests: { readonly Metadata: unknown }
  readonly lookup: (
    versions: Record<number, { minVersion: number; maxVersion: number }>,
  ) => (apiKey: number, definition: unknown) => (given: object) => { readonly request: { readonly apiVersion: number } }
}

const METADATA = 3
const { lookup, requests } = createRequire(import.meta.url)('kafkajs/src/protocol/requests') as Requests

it.each([
  ['3.0', 11, 6],
  ['3.1', 12, 12],
  ['4.0', 13, 12],
])('Kafka %s, which knows versions up to %i, gets version %i', (_release, maxVersion, expected) => {
  // Its import changes the request.
  expect(createKafkaSource).toBeDefined()
  const request = lookup({ [METADATA]: { minVersion: 0, maxVersion } })(METADATA, requests.Metadata)
  expect(request({ topics: ['a'] }).request.apiVersion).toBe(expected)
})
