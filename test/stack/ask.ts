/** Statements to the real servers. */
import type { Credentials } from '@agent-audit/stack'

/** Runs a statement over HTTP. @returns The answer, or the server's refusal. */
export async function ask(url: string, user: Credentials, statement: string): Promise<string> {
  const headers = { 'X-ClickHouse-User': user.username, 'X-ClickHouse-Key': user.password, connection: 'close' }
  const response = await fetch(url, { method: 'POST', body: statement, headers })
  return (await response.text()).trim()
}
