/**
 * Redaction of texts made of the corpus' pieces, separators, escapes and repetitions: it takes time in proportion to the text,
 * records no planted secret whole, changes nothing the second time, and leaves JSON valid.
 */
import { array, constantFrom, nat, oneof, property, string, tuple } from 'fast-check'
import { HITS, LOOK_ALIKES } from '../producer/redaction/corpus/measure.ts'
import { redactInJson, redactTexts } from '../producer/redaction/corpus/redact.ts'
import type { FuzzTarget } from './target.ts'

const SEPARATORS = [' ', '\n', '\t', ', ', ' | ', '\r\n', ' && ', '\u001B[0m ']
const REPEATED =
  'a = : > - -- \\ " \' ` @ % & ; token: password= sk- ghp_ eyJ- &token= login Cookie: ://a:b Bearer \\n %3D \\u003d'.split(
    ' ',
  )
/** Milliseconds a text of 4 KB may take: some fifty times the usual, since machines stall. */
const MOST_MS = 100

const piece = oneof(
  constantFrom(...HITS.filter(({ text }) => text.length < 1000).map(({ text }) => text)),
  constantFrom(...LOOK_ALIKES.map(({ text }) => text)),
  string({ unit: 'binary', maxLength: 12 }),
  tuple(constantFrom(...REPEATED), nat(40)).map(([unit, count]) => unit.repeat(count)),
)
const noise = array(tuple(piece, constantFrom(...SEPARATORS)), { maxLength: 6 }).map((parts) => parts.flat().join(''))
const planted = constantFrom(...HITS.filter(({ text }) => text.length < 1000))

function timeOf(text: string): number {
  const start = performance.now()
  redactTexts([text])
  return performance.now() - start
}

/** A stall of the machine is no finding: the least of three counts. */
function checkTime(unit: string): void {
  if (unit === '') return
  const text = unit.repeat(Math.ceil(4096 / unit.length)).slice(0, 4096)
  let least = timeOf(text)
  for (let again = 0; again < 3 && least > MOST_MS; again++) least = Math.min(least, timeOf(text))
  if (least > MOST_MS) throw new Error(`${least} ms for 4 KB of ${JSON.stringify(unit)}`)
}

export const fuzz: FuzzTarget = {
  name: 'redaction',
  property: property(noise, noise, planted, (before, after, { text, secret }) => {
    // A line of its own: what stands around it may close its quotes, or be one word with it.
    const whole = `${before}\n${text}\n${after}`
    const [once] = redactTexts([whole]).map((recorded) => recorded.text)
    if (once === undefined) throw new Error('not recorded')
    if (once.includes(secret)) throw new Error('a secret was recorded')
    const [again] = redactTexts([once]).map((recorded) => recorded.text)
    if (again !== once) throw new Error(`the second time: ${JSON.stringify(again)}`)
    const [inJson] = redactInJson([whole])
    if (inJson?.includes(secret) === true) throw new Error('a secret was recorded in JSON')
    checkTime(before)
    checkTime(whole)
  }),
}
