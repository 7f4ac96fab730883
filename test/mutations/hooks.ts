/** Loaded first (`node --import`): switches off the guard that AUDIT_MUTATION names, when its file is loaded. */
import { registerHooks } from 'node:module'
import { ALL_MUTATIONS, mutate } from './mutations.ts'

const mutation = ALL_MUTATIONS.find(({ guard }) => guard === process.env['AUDIT_MUTATION'])

if (mutation !== undefined) {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      if (!url.endsWith(`/${mutation.file}`)) return loaded
      const source = typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source as never).toString()
      return { ...loaded, source: mutate(source, mutation) }
    },
  })
}
