/** A trail names its signing key, and records none of it. */
import { generateKey } from '@agent-audit/seals'
import { expect, it } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail, readRows } from '../support.ts'

it.each(['off', 'secrets'] as const)('trail_started has the name of the key alone, with redact: %s', async (redact) => {
  const dataDir = makeTempDirectory()
  const trail = openTrail({ signing: { key: generateKey('agent-1') }, dataDir, redact })
  await trail.close()
  const [started] = readRows(dataDir)
  expect(started).toMatchObject({ event_type: 'trail_started', content: { options: { signing: 'agent-1' } } })
  expect(JSON.stringify(started)).not.toContain('PRIVATE KEY')
})
