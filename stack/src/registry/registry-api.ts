/** The Confluent API of Apicurio: where it is, and whether it answers. */
const PROBE_TIMEOUT_MS = 2000

export const CONFLUENT_API = '/apis/ccompat/v7'

/** Whether a registry serves the Confluent API there. */
export async function registryAnswers(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/subjects`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}
