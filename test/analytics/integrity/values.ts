/** Other values of a column, as SQL: a row that gets one is never the same as before. */

export interface Column {
  readonly name: string
  /** ClickHouse's type, such as `Nullable(Int64)`. */
  readonly type: string
}

/** A whole number below `count`. */
export type Draw = (count: number) => number

/** The column's value is `@`. Texts: one character more or less, zero bytes, spaces, another case, a letter that looks the same. */
const TEXTS = [
  `concat(@, 'x')`,
  `concat(@, char(0))`,
  `concat(' ', @)`,
  `concat(@, ' ')`,
  `if(@ = '', ' ', '')`,
  `if(@ = '', '0', substringUTF8(@, 1, lengthUTF8(@) - 1))`,
  `if(@ = '', '0', substringUTF8(@, 2))`,
  `if(upper(@) = @, concat(@, 'a'), upper(@))`,
  `if(position(@, 'a') > 0, replaceOne(@, 'a', 'а'), concat(@, 'а'))`,
]
const WHOLE = ['@ + 1', '@ - 1', '-@ - 1', 'bitXor(@, toInt64(4611686018427387904))', 'bitXor(@, toInt64(65536))']
const DOUBLES = [
  'if(@ = 1.25, 2.5, 1.25)',
  'if(isNaN(@), 1., -@)',
  'if(isNaN(@), 0., nan)',
  'if(isInfinite(@), 0., inf)',
]
const PARTITIONS = ['@ + 1', '-@ - 1', '1 - @ * 2', '1000000 + @']
const UNITS = ['MICROSECOND', 'MILLISECOND', 'SECOND', 'DAY']

/** Values for a column that had none. */
const FIRST: Readonly<Record<string, readonly string[]>> = {
  String: [`''`, `' '`, `'a'`, 'char(0)'],
  Int64: ['0', '-1', '1', 'toInt64(4611686018427387904)'],
  Float64: ['0.', '-0.', 'nan', '1.5'],
  UUID: [`toUUID('00000000-0000-0000-0000-000000000000')`, 'generateUUIDv4()'],
  'FixedString(32)': [`toFixedString('', 32)`, `toFixedString('a', 32)`],
  'FixedString(16)': [`toFixedString('', 16)`, `toFixedString('a', 16)`],
}

/** An expression that gives another value than the column has, of its type. */
export function otherValue({ name, type }: Column, draw: Draw): string {
  const base = type.replace(/^(?:LowCardinality|Nullable)\((.+)\)$/, '$1')
  const pick = (values: readonly string[]): string => values[draw(values.length)] ?? ''
  const changed = changeOf(base, pick)
  if (!type.startsWith('Nullable')) return `CAST(${changed.replaceAll('@', name)} AS ${base})`
  const other = draw(3) === 0 ? 'NULL' : changed.replaceAll('@', `assumeNotNull(${name})`)
  const nullable = (value: string): string => `CAST(${value} AS Nullable(${base}))`
  return `if(${name} IS NULL, ${nullable(pick(FIRST[base] ?? []))}, ${nullable(other)})`
}

function changeOf(base: string, pick: (values: readonly string[]) => string): string {
  if (base === 'String') return pick(TEXTS)
  if (base === 'Bool') return 'NOT @'
  if (base === 'Float64') return pick(DOUBLES)
  if (base === 'UUID') return 'generateUUIDv4()'
  if (base === 'Int32') return pick(PARTITIONS)
  if (base === 'Int64') return pick(WHOLE)
  const size = /^FixedString\((\d+)\)$/.exec(base)?.[1]
  if (size !== undefined) {
    return `toFixedString(concat(char(bitXor(reinterpretAsUInt8(substring(@, 1, 1)), 1)), substring(@, 2)), ${size})`
  }
  if (base.startsWith('DateTime64')) {
    return `@ ${pick(['+', '-'])} INTERVAL 1 ${pick(base.startsWith('DateTime64(3') ? UNITS.slice(1) : UNITS)}`
  }
  throw new Error(`no other value of ${base} is known`)
}
