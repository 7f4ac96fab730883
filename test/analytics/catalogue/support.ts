import {
  type Analytics,
  type PageOptions,
  type ParamsOf,
  type QueryName,
  type RowOf,
  runQuery,
} from '@agent-audit/analytics'

/** All rows of a query. */
export async function answer<Name extends QueryName>(
  analytics: Analytics,
  name: Name,
  params: ParamsOf<Name>,
  options: PageOptions = {},
): Promise<RowOf<Name>[]> {
  const rows: RowOf<Name>[] = []
  for await (const row of runQuery(analytics, name, params, options)) rows.push(row)
  return rows
}
