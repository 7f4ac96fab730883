/** Which retention classes the name of a topic allows. */
import { classesOfTopic, topicOfClass } from '@agent-audit/schemas'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'

it.each([
  ['audit.events', ['default']],
  ['audit.events.pci', ['pci']],
  ['audit.events.eu.pci', ['eu.pci']],
  ['acme', ['default']],
  ['acme.pci', ['default', 'pci']],
  ['acme.events.pci', ['default', 'events.pci', 'pci']],
])('topic %s has records of %j', (topic, classes) => {
  expect(classesOfTopic(topic)).toEqual(classes)
})

it('a topic has the class that its producer names it by, for every base and class', () => {
  const name = fc.stringMatching(/^[\w-]{1,5}(\.[\w-]{1,5}){0,2}$/)
  fc.assert(
    fc.property(fc.oneof(fc.constant('audit.events'), name), name, (base, retentionClass) => {
      // A producer takes no such base.
      fc.pre(!base.startsWith('audit.events.') && base !== 'audit')
      expect(classesOfTopic(topicOfClass(base, retentionClass))).toContain(retentionClass)
    }),
  )
})
