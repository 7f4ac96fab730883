/**
 * To be imported first: in this process the history of the record ends at version 1, as in a release from before version 2.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const VERSION_1 = new URL('../../schemas/avro/history/0001-audit-event.avsc', import.meta.url)

registerHooks({
  load(url, context, nextLoad) {
    if (!url.endsWith('/schemas/src/avro/history.generated.ts')) return nextLoad(url, context)
    const text = JSON.stringify(JSON.parse(readFileSync(VERSION_1, 'utf8')))
    return {
      format: 'module',
      source: `export const HISTORY_TEXTS = [${JSON.stringify(text)}]`,
      shortCircuit: true,
    }
  },
})
