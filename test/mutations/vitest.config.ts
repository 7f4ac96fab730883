/** The tests as they are, on a source with the guard that AUDIT_MUTATION names switched off. */
import { mergeConfig } from 'vitest/config'
import base from '../../vitest.config.ts'
import { ALL_MUTATIONS, mutate } from './mutations.ts'

const mutation = ALL_MUTATIONS.find(({ guard }) => guard === process.env['AUDIT_MUTATION'])

export default mergeConfig(base, {
  // A module that was loaded with one guard switched off must not be reused with another.
  test: { fsModuleCache: false },
  plugins: [
    {
      name: 'mutation',
      enforce: 'pre',
      transform: (code: string, id: string) =>
        mutation !== undefined && id.endsWith(`/${mutation.file}`) ? mutate(code, mutation) : undefined,
    },
  ],
})
