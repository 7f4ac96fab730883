/** Whether an agent needs a tool, from how it was with other agents, and from the words of its task. */

export interface Capability {
  readonly name: string
  readonly type: string
  readonly permission_level: string
}

export interface Configuration {
  readonly instance_id: string
  readonly source: string
  readonly declared_capabilities: readonly Capability[]
  readonly spec_tokens: readonly string[]
  readonly labels: { readonly excess_set: readonly string[] }
}

/** By feature: how often it was there, and how often the tool was not needed. */
export type Learned = ReadonlyMap<string, readonly [unneeded: number, all: number]>

/** How many cases the coarser feature counts for. */
const PRIOR = 3

export function learn(configurations: readonly Configuration[]): Learned {
  const counts = new Map<string, [number, number]>()
  for (const one of configurations) {
    const excess = new Set(one.labels.excess_set)
    // Hundreds of tools of one agent count as twenty.
    const weight = Math.min(1, 20 / one.declared_capabilities.length)
    for (const capability of one.declared_capabilities) {
      for (const feature of featuresOf(one, capability)) {
        const count = counts.get(feature) ?? [0, 0]
        counts.set(feature, [count[0] + weight * Number(excess.has(capability.name)), count[1] + weight])
      }
    }
  }
  return counts
}

/** From the coarsest to the finest: the finer one corrects the coarser one as far as it has cases. */
function featuresOf({ spec_tokens, declared_capabilities }: Configuration, capability: Capability): string[] {
  const { name, type, permission_level } = capability
  const words = wordsOf(name)
  const spec = new Set(spec_tokens.map(stem))
  const named = words.filter((word) => spec.has(word)).length
  const overlap = named === 0 ? 'none' : named === words.length ? 'all' : 'some'
  const size = declared_capabilities.length === 1 ? 'one' : declared_capabilities.length < 5 ? 'few' : 'many'
  const kind = type.replace(/\.[^.]*$/, '')
  return [
    'any',
    `named ${overlap}`,
    `named ${overlap}, ${permission_level}, ${size}`,
    `kind ${kind}, named ${overlap}, ${size}`,
    `tool ${name.toLowerCase()}`,
    `tool ${name.toLowerCase()}, named ${overlap}`,
  ]
}

/** 0 to 1: how probable it is that the agent does not need the tool. */
export function chanceOf(one: Configuration, capability: Capability, learned: Learned): number {
  let chance = 0.5
  for (const feature of featuresOf(one, capability)) {
    const [unneeded, all] = learned.get(feature) ?? [0, 0]
    chance = (unneeded + PRIOR * chance) / (all + PRIOR)
  }
  return chance
}

export function excessOf(one: Configuration, learned: Learned, cut: number): ReadonlySet<string> {
  const excess = one.declared_capabilities.filter((capability) => chanceOf(one, capability, learned) >= cut)
  return new Set(excess.map(({ name }) => name))
}

function wordsOf(name: string): string[] {
  const parts = name
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
  return parts.filter((word) => word.length > 2 && word !== 'tool').map(stem)
}

function stem(word: string): string {
  return word.replace(/(ing|es|ed|s|e)$/, '')
}
