/** deploy/clickhouse/users.d/audit.xml has the users that the code expects, and bounds what each may use. */
import { readFileSync } from 'node:fs'
import { detectorGrants, readerGrants, writerGrants } from '@agent-audit/schemas'
import { expect, it } from 'vitest'

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}

function grantsOf(user: string): string[] {
  const users = read('deploy/clickhouse/users.d/audit.xml').split('<users>')[1] ?? ''
  const section = users.split(`<${user}>`)[1]?.split(`</${user}>`)[0] ?? ''
  const grants = section.split('<grants>')[1] ?? ''
  return [...grants.matchAll(/<query>(.*)<\/query>/g)].map(([, grant = '']) => grant)
}

it('audit_writer, audit_reader and audit_detector have the grants of the contract', () => {
  expect(grantsOf('audit_writer')).toEqual(writerGrants('audit'))
  expect(grantsOf('audit_reader')).toEqual(readerGrants('audit'))
  expect(grantsOf('audit_detector')).toEqual(detectorGrants('audit'))
})

it.each(['audit_writer', 'audit_reader', 'audit_detector'])(
  'the profile of %s bounds memory, time and answers, and no query can lift it',
  (user) => {
    const file = read('deploy/clickhouse/users.d/audit.xml')
    const [, profiles = ''] = /<profiles>([^]*)<\/profiles>/.exec(file) ?? []
    const profile = profiles.split(`<${user}>`)[1]?.split(`</${user}>`)[0] ?? ''
    for (const setting of ['max_execution_time', 'max_memory_usage', 'max_result_bytes']) {
      const [, limit] = new RegExp(`^\\s*<${setting}>(\\d+)</${setting}>$`, 'm').exec(profile) ?? []
      expect(Number(limit)).toBeGreaterThan(0)
      // 0 would be no limit.
      expect(profile).toContain(`<${setting}><min>1</min><max>${limit}</max></${setting}>`)
    }
    expect(profile).toContain('<max_memory_usage_for_user><const/></max_memory_usage_for_user>')
    expect(file.split('</profiles>')[1]).toContain(`<profile>${user}</profile>`)
  },
)
