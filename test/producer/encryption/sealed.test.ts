/** Erasure and proof: seals cover the stored bytes, and these stay. */
import { FieldReader } from '@agent-audit/erasure'
import { expect, it } from 'vitest'
import { ANNA, newStore } from '../../erasure/support.ts'
import { checkSeals, newKey, readMessages } from '../../support/sealed-runs.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail, readRows, sessionRows } from '../support.ts'

const TOPIC = 'audit.events'

it('the seals of a run hold after the key of its texts is destroyed', async () => {
  const dataDir = makeTempDirectory()
  const key = newKey('agent-1')
  const { options: keys, store } = newStore()
  const trail = openTrail({ dataDir, signing: { key: key.pem }, encryption: { keys } })
  const session = trail.startSession({ user_id: ANNA.id })
  for (let index = 0; index < 50; index++) session.finalOutput({ output_text: `Anna's order ${index}` })
  session.end()
  await trail.close()
  store.erase(ANNA)
  const last = { ...sessionRows(dataDir).at(-2), field_notes: '{"output_text":{"encrypted":true}}' }
  new FieldReader(store).reveal(last)
  expect(last).toMatchObject({ event_type: 'final_output', output_text: '[erased]' })
  const [run] = checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), [key]).values()
  expect(run).toMatchObject({ faults: [], unsealed: [], missing: [], gaps: [] })
  expect(run?.records.length).toBeGreaterThan(50)
})

it('the options that a trail records have neither its signing key nor its key store in them', async () => {
  const dataDir = makeTempDirectory()
  const { options: keys } = newStore()
  const trail = openTrail({ dataDir, signing: { key: newKey('agent-1').pem }, encryption: { keys }, redact: 'off' })
  await trail.close()
  const started = JSON.stringify(readRows(dataDir).filter(({ event_type }) => event_type === 'trail_started'))
  expect(started).toContain('"signing":"agent-1"')
  expect(started).not.toMatch(/PRIVATE KEY|kekFile/)
})
