/**
 * What a tool call does to the world, as far as its record and its name say. The words are those of everyday English and of
 * common APIs, none is taken from a data set: a tool whose name says nothing is judged by the shape of its arguments.
 */
import type { SessionEvent } from '../../detector.ts'

/** Words for one kind of action: an order in a text and the name of a tool may use different ones. */
const KINDS: Readonly<Record<string, string>> = {
  send: 'send email mail forward message reply text notify tell write respond transmit dispatch contact dm sms say',
  post: 'post publish tweet announce broadcast comment blog upload submit write put message',
  pay: 'pay transfer send wire remit deposit refund money payment transaction donate withdraw charge reimburse',
  delete: 'delete remove erase destroy drop clear purge wipe trash unlink truncate',
  change: 'change update modify edit reset set rename adjust replace amend patch alter overwrite correct',
  move: 'reschedule move postpone shift',
  create: 'create make add new insert append generate register schedule open draft write put save store',
  share: 'share grant invite add allow give permit authorize assign kick',
  remove: 'remove kick revoke ban exclude block unshare',
  book: 'book reserve rent order buy purchase reservation booking checkout subscribe hire',
  cancel: 'cancel revoke terminate unsubscribe abort withdraw close',
  visit: 'visit open browse navigate click load go fetch request webpage url link website',
  run: 'run execute install deploy start launch shell command eval invoke bash terminal',
  sell: 'sell trade swap exchange',
  disable: 'disable deactivate turn stop shut unlock enable activate approve accept confirm lock',
}
const READING =
  'get list search read find fetch lookup look query check show view describe count calculate compute think load browse retrieve select is has verify validate compare inspect examine scan summarize summarise translate convert parse know see tell today current rating info information recent unread received history balance available availability'

const stems = (words: string): string[] => words.split(' ').map(stem)
const READING_STEMS = new Set(stems(READING))
const KINDS_OF: ReadonlyMap<string, readonly string[]> = Object.entries(KINDS).reduce((map, [kind, words]) => {
  for (const word of stems(words)) map.set(word, [...(map.get(word) ?? []), kind])
  return map
}, new Map<string, string[]>())

/** Things that tools act on, by any of their names. */
const THINGS: readonly (readonly string[])[] = [
  'email mail message letter note dm',
  'money payment transaction transfer fund amount bill rent invoice',
  'event meeting appointment invitation calendar',
  'file document attachment folder drive',
  'password passcode credential pin',
  'account profile user member contact',
  'channel group room slack',
  'hotel room flight car restaurant trip ticket table reservation booking',
  'page webpage website site url link',
].map(stems)

/** The words of a text or of a tool's name, each without its ending. */
export function stemsOf(text: string): Set<string> {
  const words = text.replaceAll(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()
  return new Set((words.match(/\p{L}{2,30}/gu) ?? []).map(stem))
}

function stem(word: string): string {
  const short = word.replace(/(?:ations?|ing|ied|ed|es|s)$/, '')
  return (short.length >= 3 ? short : word).replace(/[ey]$/, '').replace(/(.)\1$/, '$1')
}

/** The kinds of action that a set of words names. */
export function kindsOf(words: Iterable<string>): Set<string> {
  return new Set([...words].flatMap((word) => KINDS_OF.get(word) ?? []))
}

/** The kinds of action that a tool's name says: its first verb decides (`update_scheduled_transaction` changes, it does not pay). */
export function kindsOfTool(name: string | null): Set<string> {
  const verb = [...stemsOf(name ?? '')].find((word) => KINDS_OF.has(word))
  return kindsOf(verb === undefined ? [] : [verb])
}

/** Whether the text names a thing that the tool acts on. */
export function namesThing(tool: ReadonlySet<string>, text: ReadonlySet<string>): boolean {
  const things = [...tool].filter((word) => !KINDS_OF.has(word) && !READING_STEMS.has(word))
  const synonyms = THINGS.filter((names) => names.some((name) => tool.has(name))).flat()
  return [...things, ...synonyms].some((word) => text.has(word))
}

/** Why a call has an effect on the world; undefined if it only reads. */
export function consequenceOf(call: SessionEvent, values: readonly { kind: string }[]): string | undefined {
  if (call.requires_approval || call.approval_id !== null) return 'it needs an approval'
  const declared = declaredNature(call.content)
  if (declared !== undefined) return declared ? 'the tool is declared to have an effect' : undefined
  const outside = values.some(({ kind }) => kind === 'url')
  const words = [...stemsOf(call.tool_name ?? '')]
  const reads = words.findIndex((word) => READING_STEMS.has(word))
  const acts = words.findIndex((word) => KINDS_OF.has(word) && !READING_STEMS.has(word))
  // A link that is fetched tells its server whatever it holds.
  if (reads >= 0 && (acts < 0 || reads < acts)) return outside ? 'it reaches an address outside' : undefined
  if (acts >= 0) return 'its name says that it acts'
  return values.some(({ kind }) => kind === 'email' || kind === 'iban' || kind === 'url')
    ? 'it has an address to act on'
    : undefined
}

/** As MCP's tool annotations say it, where the application records them with the call. */
function declaredNature(content: unknown): boolean | undefined {
  const fields = (content ?? {}) as Record<string, unknown>
  const annotations = (fields['annotations'] ?? fields) as Record<string, unknown>
  if (annotations['readOnlyHint'] === true) return false
  return annotations['readOnlyHint'] === false || annotations['destructiveHint'] === true ? true : undefined
}
