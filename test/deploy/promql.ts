/** What a PromQL expression asks for, read by the grammar of Prometheus's own editor. */
import type { SyntaxNode } from '@lezer/common'
import { parser } from '@prometheus-io/lezer-promql'

export interface Selected {
  readonly metric: string
  /** Labels that it is filtered by. */
  readonly labels: readonly string[]
}

export interface Expression {
  /** Parts that are no PromQL. */
  readonly errors: readonly string[]
  readonly selected: readonly Selected[]
  /** Labels of `by`, `on` and `group_left`. */
  readonly grouping: readonly string[]
}

/** Grafana replaces its variables before it asks Prometheus. */
export function readExpression(text: string): Expression {
  const query = text.replaceAll('$__rate_interval', '5m')
  const found = { errors: [] as string[], selected: [] as Selected[], grouping: [] as string[] }
  const textOf = (node: SyntaxNode): string => query.slice(node.from, node.to)
  parser.parse(query).iterate({
    enter({ type, node }) {
      if (type.isError) found.errors.push(`${query} (at ${node.from})`)
      if (type.name === 'VectorSelector') {
        const metric = node.getChild('Identifier')
        const labels = namesBelow(node, 'LabelName').map(textOf)
        found.selected.push({ metric: metric === null ? '' : textOf(metric), labels })
      }
      if (type.name === 'GroupingLabels') found.grouping.push(...namesBelow(node, 'LabelName').map(textOf))
    },
  })
  return found
}

function namesBelow(of: SyntaxNode, name: string): SyntaxNode[] {
  const found: SyntaxNode[] = []
  of.cursor().iterate((at) => {
    if (at.name === name) found.push(at.node)
    return at.to <= of.to
  })
  return found
}
