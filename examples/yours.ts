/** Stands for your own code in the examples: a model, a tool, a bank, the web, a mail server. */

export interface Reply {
  text: string | null
  calls: { id: string; name: string; input: unknown }[]
  usage: { input_tokens: number; output_tokens: number }
}

/** Looks the order up first, then answers with what it found. */
export async function callModel(messages: readonly { role: string; content: unknown }[]): Promise<Reply> {
  const found = messages.find(({ role }) => role === 'tool')
  const usage = { input_tokens: 20 * messages.length, output_tokens: 5 }
  if (found === undefined) return { text: null, calls: [{ id: 'c1', name: 'find_order', input: { number: 7 } }], usage }
  return { text: `It is ${String(found.content)}.`, calls: [], usage }
}

export function toolFor(name: string): (input: unknown) => Promise<string> {
  if (name !== 'find_order') throw new Error(`no tool ${name}`)
  return async () => 'on its way'
}

export async function pay({ to, eur }: { to: string; eur: number }): Promise<string> {
  return `paid ${eur} EUR to ${to}`
}

export async function fetchPage({ url }: { url: string }): Promise<string> {
  return `page of ${url} `.repeat(500)
}

export const sentMails: string[] = []

export async function sendMail({ to }: { to: string; text: string }): Promise<void> {
  sentMails.push(to)
}
