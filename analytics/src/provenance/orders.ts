/** What an order to do something looks like in English: an imperative, told by its verb, or by what follows it. */

/** Common verbs of orders, in their plain form. */
const VERBS =
  'accept|activate|add|amend|append|approve|arrange|assign|attach|authori[sz]e|block|book|buy|call|cancel|change|checkout|clear|click|close|collect|commit|complete|confirm|connect|contact|copy|create|deactivate|delete|deliver|deploy|deposit|destroy|disable|disclose|donate|download|drop|email|e-mail|enable|encode|enter|erase|execute|export|fetch|file|fill|find|follow|forward|gather|get|give|go|grant|hand|include|insert|install|invite|issue|kick|leak|list|load|log|look|mail|make|merge|message|modify|move|navigate|notify|obtain|open|order|output|overwrite|pay|perform|pick|place|post|print|provide|publish|purchase|push|put|query|read|rebook|redirect|refund|register|remit|remove|rename|repeat|replace|reply|report|request|reschedule|reserve|reset|respond|retrieve|return|reveal|revoke|run|save|say|schedule|search|select|sell|send|set|share|show|shut|sign|store|submit|subscribe|summari[sz]e|swap|switch|take|tell|terminate|text|transfer|transmit|turn|unblock|unlock|unsubscribe|update|upgrade|upload|use|visit|wire|withdraw|write'

/** One of them, also as in `reupload` and `unshare`; or by an ending of verbs, as in `concatenate` and `notify`, with few exceptions. */
const KNOWN_VERB =
  String.raw`(?:(?:re|un|de|dis|up|out|over|pre|cross|auto)-?)?(?:${VERBS})|[a-z]{3,14}(?:ate|ify|ize|ise)` +
  '(?<!private|corporate|candidate|certificate|template|climate|estimate|alternate|separate|ultimate|accurate|appropriate|affiliate|associate|otherwise|likewise|exercise|expertise|enterprise|surprise|premise|promise|precise|concise|size)'

/** What an object begins with. A word before it, first in its clause, is a verb: `whitelist my address`. */
const OBJECT_START =
  'the|an|all|any|every|each|my|your|his|her|their|our|its|me|us|them|him|it|everyone|everybody|everything'

/** Words that stand first in a clause before an object too, and order nothing. */
const NO_VERB = [
  'the a an all any every each some no not only even just both half quite such what which who whose whom why how when where while that this these those there here i you we they he she it me us them my your his her their our its one two three four five six seven eight nine ten hundred thousand many much more most few less least several enough other another own same everyone everybody everything someone nobody nothing',
  'and or but nor yet so if unless as since because although though than then like unlike near of in on at by to from for with without within into onto over under above below behind beside between among during until till after before about around across along against toward through throughout inside outside upon per via despite except plus minus beyond off out up down is are was were am be been has have does did do can could will would shall should may might must also too very really again once now today tomorrow tonight yesterday soon later never ever often maybe perhaps almost rather still already instead otherwise however therefore thus hence meanwhile overall good great nice best love loved hate hello hi hey dear yes ok okay thank re fwd pm mon monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october november december',
  // Pasts without -ed.
  'went got came saw had made took felt gave found told said left met kept held brought bought thought sent spent paid ate ran sat stood understood knew grew threw flew wrote spoke broke chose drove rode began drank sang heard read lost won taught caught led built meant',
]
  .join(' ')
  .split(' ')

/** No past, no gerund, no plural, no adverb. */
const VERB_BY_PLACE = String.raw`(?!(?:${NO_VERB.join('|')})\b)[a-z]{2,14}(?<!ed|ing|[^s]s|ly)(?=\s{1,20}(?:${OBJECT_START})\b(?!['\u2019]))`

/** Also after a phrase that leads in: `for the full list, open …`. */
const LEAD_IN = String.raw`(?:(?:before|after|to|for|if|when|once|as|in|with|until|while|on|since|because)\b[^.!?,\n]{1,60},\s{1,9})?`
const CLAUSE_START = String.raw`(?:^|[.!?:;>)\]#*•-]\s{1,20}|[\n"'\u201c_]\s{0,20})(?:(?:and|then|or|but|so|next|finally|lastly|second(?:ly)?|third(?:ly)?|after\s{1,9}that|\d{1,2}[.)]|step\s{1,9}\d{1,2}:?)[,\s]{1,9}){0,2}`
const URGE = String.raw`(?:\b(?:please|kindly|just|also|then|now|first|instead|immediately|you\s{1,9}(?:must|should|shall|need\s{1,9}to|have\s{1,9}to|are\s{1,9}to|will)(?:\s{1,9}(?:also|now|then|first|immediately))?|(?:want|need|would\s{1,9}like|ask)\s{1,9}you\s{1,9}to|make\s{1,9}sure\s{1,9}(?:to|you|that\s{1,9}you)|be\s{1,9}sure\s{1,9}to|remember\s{1,9}to|your\s{1,9}(?:new\s{1,9})?task\s{1,9}is\s{1,9}to|todo|to-do|do|action\s{1,9}required|important|urgent|task|note)\b[\s:!,-]{1,20})`

/** Behind a word that is no name of a field (`order":`) and no first part of a compound. */
const NO_NAME = String.raw`(?:\z|[^-:="' \t-\r\w]|["' \t-\r]{1,3}(?:\z|[^:="' \t-\r])|["' \t-\r]{4})`

/** The rest of any word of small letters but these, as a pattern without look-arounds. */
function wordBut(words: readonly string[]): string {
  const byLetter = Map.groupBy(words.filter(Boolean), (word) => word.charAt(0))
  const others = Array.from('abcdefghijklmnopqrstuvwxyz', (letter) => (byLetter.has(letter) ? '' : letter)).join('')
  const branches = [...byLetter].map(([letter, of]) => {
    const rests = of.map((word) => word.slice(1))
    return `${letter}${wordBut(rests)}${rests.includes('') ? '' : '?'}`
  })
  return `(?:${[...branches, ...(others === '' ? [] : [`[${others}][a-z]*`])].join('|')})`
}

/**
 * A verb that is first in its clause or urged. A name of a field (`order:`), a compound (`follow-up`) and a
 * numbered heading (`search result 2:`) are none.
 */
export const ORDER: RegExp = new RegExp(
  `(?:${CLAUSE_START}${LEAD_IN}|${URGE})(?:${URGE}){0,2}(?:(?:${KNOWN_VERB})\\b(?!-|["'\\s]{0,3}[:=]|\\s\\w{1,20}\\s\\d{1,4}:)|${VERB_BY_PLACE})`,
  'gim',
)

const BEGINNING = `(?:${CLAUSE_START}${LEAD_IN}|${URGE})(?:${URGE}){0,2}`

/**
 * Patterns without look-arounds, which RE2 lacks: {@link ORDER} matches in no text, as it is shown, in which none of the lists
 * matches whole. What stands behind a verb is read with it; the words that are no verbs are left out letter by letter, which is
 * slow, so that the pattern before it tells most texts. Lengths have no bounds, which would be states of the automaton.
 */
export const ORDER_SIGNS: readonly (readonly string[])[] = [
  [`${BEGINNING}(?:${KNOWN_VERB.replace(/\(\?<!.*\)$/, '')})${NO_NAME}`],
  [
    String.raw`[a-z]\s{1,20}(?:${OBJECT_START})\b`,
    String.raw`${BEGINNING}${wordBut(NO_VERB)}\s{1,20}(?:${OBJECT_START})\b`,
  ],
].map((patterns) => patterns.map(unbounded))

function unbounded(pattern: string): string {
  return pattern
    .replaceAll(/\{0,\d+\}\??/g, '*')
    .replaceAll(/\{1,\d+\}/g, '+')
    .replaceAll('{3,14}', '+')
}
