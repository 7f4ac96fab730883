/** Bundles of what happens to an honest trail: adopted tails, rotated keys, witnesses, signed approvals, encrypted texts. */
import { parseTrust, signCheckpoint, signerFromPem, type Trust, type TrustedKey } from '@agent-audit/seals'
import { type Bundle, formatBundle } from '@agent-audit/seals/evidence'
import { bundleOf, notarize, type SealedLog, trustOf } from '../../support/evidence.ts'
import type { EvidenceCase } from '../../support/evidence-cases.ts'

type Expected = Pick<EvidenceCase, 'verdict' | 'kind'>

export function formCases(log: SealedLog): EvidenceCase[] {
  const bundle = (session: string, change: Partial<Bundle> = {}): Buffer => {
    return formatBundle({ ...bundleOf(log, session), ...change })
  }
  const trust = trustOf(log)
  const as = (name: string, session: string, expected: Expected, given: Partial<EvidenceCase> = {}): EvidenceCase => {
    return { name, bytes: bundle(session), trust, ...expected, ...given }
  }
  const changing = (change: (key: TrustedKey) => TrustedKey[]): Partial<EvidenceCase> => {
    return { trust: trustOf(log, { keys: parseTrust(trust).keys.flatMap(change) }) }
  }
  const [second, successor, approver] = (log.trusted ?? []).map(({ key }) => key.vkey)
  const without = (vkey: string | undefined): Partial<EvidenceCase> => {
    return changing((each) => (each.key.vkey === vkey ? [] : [each]))
  }
  const ending = (vkey: string | undefined, change: Partial<TrustedKey>): Partial<EvidenceCase> => {
    return changing((each) => [each.key.vkey === vkey ? { ...each, ...change } : each])
  }
  const past = log.now - 1000
  const [unknown, tampered]: [Expected, Expected] = [
    { verdict: 'unchecked', kind: 'key' },
    { verdict: 'tampered', kind: 'key' },
  ]
  return [
    as('a tail that another producer has sealed', 'adopted', { verdict: 'verified' }),
    as('the dead producer has no key in the trust file', 'adopted', unknown, without(second)),
    as('its adopter has none', 'adopted', unknown, without(log.producer.verifier.vkey)),
    as('a key that was rotated amid a session', 'rotated', { verdict: 'verified' }),
    as('the next key is not in the trust file', 'rotated', unknown, without(successor)),
    as('the next key does not count yet', 'rotated', tampered, ending(successor, { notBefore: log.now + 86_400_000 })),
    as('a signed decision, and a call on it', 'approved', { verdict: 'verified' }),
    as('its approver has no key in the trust file', 'approved', unknown, without(approver)),
    as(
      'the key of its approver was revoked',
      'approved',
      { verdict: 'tampered', kind: 'signature' },
      ending(approver, { revoked: past }),
    ),
    as(
      'its key has another role',
      'approved',
      { verdict: 'tampered', kind: 'signature' },
      ending(approver, { role: 'eraser' }),
    ),
    as('a call on the signature of another one', 'misled', { verdict: 'tampered', kind: 'approval' }),
    as('a signed decision whose signature is encrypted', 'private', { verdict: 'verified' }),
    as('texts that are encrypted, and one that was erased', 'encrypted', { verdict: 'verified' }),
    as(
      'another label of an encrypted text',
      'encrypted',
      { verdict: 'tampered', kind: 'report' },
      {
        bytes: bundle('encrypted', {
          report: bundleOf(log, 'encrypted').report.replace('reasoning (encrypted)', 'reasoning (erased)'),
        }),
      },
    ),
    ...witnessed(log, trust, as),
  ]
}

function witnessed(
  log: SealedLog,
  trust: string,
  as: (name: string, session: string, expected: Expected, given?: Partial<EvidenceCase>) => EvidenceCase,
): EvidenceCase[] {
  const bundle = bundleOf(log, 'short')
  const newest = bundle.log.at(-1)?.note ?? ''
  // The last of its signature lines is that of the witness.
  const [witness = ''] = newest.trimEnd().split('\n').slice(-1)
  const of = (note: string): Partial<EvidenceCase> => ({
    bytes: formatBundle({
      ...bundle,
      log: bundle.log.map((each) => (each.note === newest ? { ...each, note } : each)),
    }),
  })
  const { tree } = notarize(log)
  const [origin = ''] = newest.split('\n')
  const alone = signCheckpoint(
    signerFromPem(log.notary.pem),
    { origin, size: tree.size, root: tree.root() },
    Math.floor(log.now / 1000) + tree.size,
  )
  const parsed: Trust = parseTrust(trust)
  const withoutWitness = trustOf(log, { keys: parsed.keys, witnesses: [] })
  const raw = Buffer.from(witness.split(' ')[2] ?? '', 'base64')
  raw[30] = (raw[30] ?? 0) ^ 1
  const wrong = newest.replace(witness, `${witness.slice(0, witness.lastIndexOf(' ') + 1)}${raw.toString('base64')}`)
  return [
    as('a witness that the trust file does not have', 'short', { verdict: 'verified' }, { trust: withoutWitness }),
    as('a checkpoint without its witness', 'short', { verdict: 'verified' }, of(alone)),
    as('a wrong cosignature of a witness', 'short', { verdict: 'tampered', kind: 'signature' }, of(wrong)),
    as(
      'the cosignature of a witness in place of the notary',
      'short',
      { verdict: 'unchecked', kind: 'key' },
      of(`${newest.slice(0, newest.indexOf('\n\n') + 2)}${witness}\n`),
    ),
  ]
}
