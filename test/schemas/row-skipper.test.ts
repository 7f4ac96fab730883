/** The skipper of rows finds the bounds of what the consumer inserts, for every version of the record. */
import { BufferMemory, EventBlock } from '@agent-audit/consumer/pipeline'
import { createRowSkipper, SCHEMA_TAILS, SCHEMA_VERSIONS, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import { describe, expect, it } from 'vitest'
import { encodeVersion, makeRecord, runIdOf } from '../support/records.ts'

const LOG = { logId: Buffer.from('0123456789abcdef', 'hex'), partition: 300 }
const TEXTS = ['', 'a', 'ä'.repeat(31), 'x'.repeat(64), 'y'.repeat(9000), '\u0000']

describe.each(SCHEMA_VERSIONS.map((version) => [version.version, version] as const))('version %i', (_, version) => {
  it('has its record, its identity and its position where the bytes of the row have them', () => {
    const block = new EventBlock(LOG as never, new BufferMemory(2 ** 22))
    const bodies = TEXTS.map((reasoning, index) => {
      const record = makeRecord('skipped', index * 2 ** 40, {
        reasoning,
        producer_id: `producer ${reasoning}`,
        cost_usd: index / 3,
        system_prompt_hash: index % 2 === 0 ? null : Buffer.alloc(32, 7),
        replay_of: index === 3 ? '0123456789abcdef/0/7' : null,
      })
      const message = encodeVersion(version, record)
      block.append(message, SINGLE_OBJECT_BYTES, version, 2 ** 33 + index, Date.UTC(2026, 0, 1) + index)
      return message.subarray(SINGLE_OBJECT_BYTES)
    })
    const rows = Buffer.concat(block.close().data)
    const skipper = createRowSkipper()
    const { bounds } = skipper
    let at = 0
    for (const [index, body] of bodies.entries()) {
      const end = skipper.skip(rows, at)
      expect(rows.subarray(at, bounds.bodyEnds[version.version - 1])).toEqual(body)
      expect(rows.subarray(bounds.runIdStart, bounds.runIdStart + 16)).toEqual(runIdOf('skipped'))
      expect(rows.toString('utf8', bounds.producerStart, bounds.producerEnd)).toBe(`producer ${TEXTS[index]}`)
      expect(bounds).toMatchObject({
        runSeq: index * 2 ** 40,
        logOffset: 2 ** 33 + index,
        logTimeMs: Date.UTC(2026, 0, 1) + index,
        isReplay: index === 3,
      })
      expect(SCHEMA_TAILS.get(rows.toString('latin1', bounds.schemaStart, end))).toBe(version)
      at = end
    }
    expect(at).toBe(rows.length)
  })

  it('says where the bytes end within a row', () => {
    const block = new EventBlock(LOG as never, new BufferMemory(2 ** 22))
    const message = encodeVersion(version, makeRecord('cut', 5))
    block.append(message, SINGLE_OBJECT_BYTES, version, 7, 1)
    const row = Buffer.concat(block.close().data)
    const skipper = createRowSkipper()
    for (let length = 0; length < row.length; length++) expect(skipper.skip(row.subarray(0, length), 0)).toBe(-1)
    expect(skipper.skip(row, 0)).toBe(row.length)
  })
})
