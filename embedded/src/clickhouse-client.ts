/** Single statements to a ClickHouse server, over its HTTP interface. */

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** Runs one statement and returns its answer as text, in TabSeparated format unless the statement names another. */
export async function runStatement(
  url: string,
  user: Credentials,
  statement: string,
  timeoutMs = 10_000,
): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    body: statement,
    headers: { 'X-ClickHouse-User': user.username, 'X-ClickHouse-Key': user.password, connection: 'close' },
    signal: AbortSignal.timeout(timeoutMs),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`ClickHouse at ${url} answered ${response.status}: ${text.trim().slice(0, 500)}`)
  return text.trim()
}
