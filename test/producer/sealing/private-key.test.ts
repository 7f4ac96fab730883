/** A trail names its signing key, and records none of it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { generateKey } from '@agent-audit/seals'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { newKey, readMessages, sealsOf } from '../../support/sealed-runs.ts'
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

describe('a key in the environment', () => {
  afterEach(() => void vi.unstubAllEnvs())

  it('AUDIT_SIGNING_KEY has its text, with \\n for line feeds, and no part of the trail shows it', async () => {
    const dataDir = makeTempDirectory()
    const key = newKey('agent-1')
    vi.stubEnv('AUDIT_SIGNING_KEY', key.pem.replaceAll('\n', '\\n'))
    const trail = openTrail({ dataDir, redact: 'off' })
    const shown = inspect(trail, { depth: 20, showHidden: true, getters: true })
    await trail.close()
    const seals = sealsOf(readMessages(dataDir, 'audit.events.seals'), [key])
    expect(seals.at(-1)).toMatchObject({ signedBy: 'agent-1', state: { kind: 'closed' } })
    const secret = key.pem.split('\n')[2] ?? ''
    expect(secret).toMatch(/^[\w+/=]{40,}$/)
    for (const text of [shown, JSON.stringify(readRows(dataDir)), JSON.stringify(trail)]) {
      expect(text).not.toContain(secret)
    }
  })

  it('a key that cannot be used is named by its variable, and not shown', () => {
    const dataDir = makeTempDirectory()
    const keyFile = join(dataDir, 'key')
    writeFileSync(keyFile, newKey('agent-1').pem, { mode: 0o640 })
    const open = (): void => void openTrail({ dataDir })
    vi.stubEnv('AUDIT_SIGNING_KEY', 'a secret that is no key')
    expect(open).toThrow(/AUDIT_SIGNING_KEY: (?!.*a secret).*expected an Ed25519 private key/)
    vi.stubEnv('AUDIT_SIGNING_KEY_FILE', keyFile)
    expect(open).toThrow(/AUDIT_SIGNING_KEY: .*expected no AUDIT_SIGNING_KEY_FILE beside it/)
    vi.stubEnv('AUDIT_SIGNING_KEY', '')
    expect(open).toThrow(/AUDIT_SIGNING_KEY_FILE: .*expected mode 0600 or 0400, found 0640/)
  })
})
