/** Seals of records in the wire format of a schema registry, of which a leaf has no byte. */
import { schemaRegistryAvailability, startSchemaRegistry } from '@agent-audit/stack'
import { afterAll, expect, it } from 'vitest'
import { checkSeals, newKey, readMessages } from '../../support/sealed-runs.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail } from '../support.ts'

const availability = schemaRegistryAvailability()
const MISSING = availability.available ? '' : `(skipped: ${availability.reason})`
const server = availability.available ? await startSchemaRegistry() : undefined
afterAll(() => server?.stop())

it.skipIf(server === undefined)(`a leaf is of the body alone, behind five bytes of framing ${MISSING}`, async () => {
  const dataDir = makeTempDirectory()
  const key = newKey('agent-1')
  const topic = `audit.sealed.${process.pid}.${Date.now()}`
  const trail = openTrail({ dataDir, topic, schemaRegistryUrl: server?.url, signing: { key: key.pem } })
  const session = trail.startSession()
  for (let index = 0; index < 50; index++) session.decision({ reasoning: `${index}` })
  await trail.close()
  const events = readMessages(dataDir, topic)
  expect(new Set(events.map(({ value }) => value[0]))).toEqual(new Set([0]))
  const run = checkSeals(events, readMessages(dataDir, `${topic}.seals`), [key]).get(trail.runId)
  expect(run).toMatchObject({ faults: [], unsealed: [], sealedTwice: [], missing: [], gaps: [] })
  expect(run?.records).toHaveLength(53)
})
