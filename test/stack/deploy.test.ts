/** The files for deployment agree with the code. */
import { readFileSync } from 'node:fs'
import { readerGrants, writerGrants } from '@agent-audit/schemas'
import { expect, it } from 'vitest'

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}

function grantsOf(user: string): string[] {
  const section = read('deploy/clickhouse/users.d/audit.xml').split(`<${user}>`)[1]?.split(`</${user}>`)[0] ?? ''
  const grants = section.split('<grants>')[1] ?? ''
  return [...grants.matchAll(/<query>(.*)<\/query>/g)].map(([, grant = '']) => grant)
}

it('the users of docker-compose.yml have the grants of the contract', () => {
  expect(grantsOf('audit_writer')).toEqual(writerGrants('audit'))
  expect(grantsOf('audit_reader')).toEqual(readerGrants('audit'))
})

it('docker-compose.yml and the jars are the same version of Kafka', () => {
  const image = /apache\/kafka:(\S+)/.exec(read('docker-compose.yml'))?.[1]
  const jars = /<kafka\.version>([^<]+)</.exec(read('stack/kafka/pom.xml'))?.[1]
  expect(image).toBe(jars)
})
