/**
 * Passages of untrusted text that read like orders to an agent. A hint, no proof: "please pay by Friday" in a letter reads like
 * one, an order in other words does not. No reason names a known attack: each is a form that orders to a model need.
 * All patterns are bounded, so that the time is linear in the text.
 */

import { ORDER } from './orders.ts'

export interface InstructionMatch {
  /** As it stands in the text. */
  readonly quote: string
  /** Where the quote begins: an index of the text. */
  readonly at: number
  readonly reason: string
  /**
   * `order`: asks for an action, as letters of people do too. `takeover`: begins to speak as only a text for a model does.
   * `secrecy`: asks to act without the user knowing.
   */
  readonly strength: Strength
}
export type Strength = 'order' | 'takeover' | 'secrecy'

/** Later passages of one form in one text are not reported. */
const MAX_MATCHES = 200
/** A sentence is cut after so many characters. */
const AROUND = 400

export const RULES: readonly { reason: string; strength: Strength; pattern: RegExp }[] = [
  {
    reason: 'sets earlier instructions aside',
    strength: 'takeover',
    pattern:
      /(?:ignore|disregard|forget|override|overrule|bypass|skip|drop|discard|cancel|do\s{1,9}not\s{1,9}follow|stop\s{1,9}following)\b[^.!?]{0,40}?\b(?:instructions?|prompts?|rules?|guidelines|directives?|orders|commands?|(?:previous|prior|above|earlier|original|initial|current)\s{1,9}[a-z]{1,20}|(?:everything|all|the)\s{1,9}(?:above|previous|prior|preceding|foregoing))\b|\b(?:previous|prior|above|earlier|original|initial|current)\s{1,9}(?:tasks?|requests?|instructions?|prompts?|quer(?:y|ies))\s{1,9}(?:is|are|was|were|ha(?:s|ve)\s{1,9}been)\s{1,9}(?:now\s{1,9})?(?:cancell?ed|void|superseded|obsolete|revoked|replaced|no\s{1,9}longer)\b/gi,
  },
  {
    reason: 'gives itself as the new instructions',
    strength: 'takeover',
    pattern:
      /\b(?:new|updated|(?:execute|follow|obey|perform|do|complete|implement|carry\s{1,9}out)\s{1,9}(?:the\s{1,9}|these\s{1,9}|my\s{1,9})?following|real|actual|next|urgent|additional|revised)\s{1,9}(?:system\s{1,9})?(?:instructions?|directives?|orders?|prompt)\b\s{0,9}(?::|are\b|is\b|override|supersede|take\b)|\b(?:adhere|comply|obey|conform)\b[^.!?]{0,30}\b(?:instructions?|directives?|orders?|commands?|following)\b/gi,
  },
  {
    reason: 'has the form of a turn of the system or the user',
    strength: 'takeover',
    pattern:
      /<\|?\s{0,5}\/?\s{0,5}(?:im_start|im_end|system|user|assistant|instructions?|inst|admin|prompt|command|directive|information|important|urgent|notice|alert|override|task|s)\s{0,5}\|?>|\[\/?(?:INST|SYSTEM|SYS|ADMIN|SYSTEM\s{1,5}MESSAGE)\]|<<\/?SYS>>|(?:#{2,6}|\[{1,3}|\({1,3}|={3,9}|-{3,9}|\*{2,3})\s{0,5}\(?\s{0,5}(?:system|user|admin|developer|assistant|instruction)s?(?:[\s_-]{1,3}(?:message|prompt|note|notice|instructions?|override|update|alert|command))?\s{0,5}[\])=:*-]|\bsystem[\s_-]{1,3}(?:message|prompt|override|instruction)s?\s{0,5}[:)\]]/gi,
  },
  {
    reason: 'speaks to the model',
    strength: 'takeover',
    pattern:
      /\b(?:you,\s{0,5}|dear\s{1,5}|hey\s{1,5}|hello\s{1,5}|hi\s{1,5}|attention,?\s{1,5}|note\s{1,5}(?:to|for)\s{1,5}(?:the\s{1,5}|any\s{1,5})?|message\s{1,5}(?:to|for)\s{1,5}(?:the\s{1,5}|any\s{1,5})?|if\s{1,5}you\s{1,5}are\s{1,5}an?\s{1,5}|you\s{1,5}are\s{1,5}an?\s{1,5})(?:helpful\s{1,5}|large\s{1,5})?(?:ai\b|a\.i\.|gpt|chatgpt|claude|gemini|llama|mistral|copilot|llm|language\s{1,5}model|(?:ai\s{1,5}|virtual\s{1,5})?assistant\b|(?:ai\s{1,5})?agents?\b|chat\s?bot|bot\b)/gi,
  },
  {
    reason: 'claims to come from the user or an authority',
    strength: 'takeover',
    pattern:
      /\b(?:message|note|instruction|order|request|command)s?\s{1,5}(?:is\s{1,5}|comes\s{1,5})?from\s{1,5}(?:me\b|your\s{1,5}(?:user|owner|developer|creator|admin|administrator|operator|principal|boss)|the\s{1,5}(?:user|owner|developer|system|admin|administrator|operator))|\bthe\s{1,5}user\s{1,5}(?:has\s{1,5})?(?:already\s{1,5})?(?:wants|asked|asks|authori[sz]ed|approved|consented|confirmed|requested)\b|\b(?:i\s{1,5}am|this\s{1,5}is)\s{1,5}(?:your|the)\s{1,5}(?:user|owner|developer|creator|admin|administrator|operator|system)\b/gi,
  },
  {
    reason: 'puts itself before, after or in place of the task',
    strength: 'takeover',
    pattern:
      /\b(?:before|prior\s{1,5}to|after|once|until|instead\s{1,5}of)\b[^.!?]{0,40}\b(?:continu(?:e|ing)|proceed(?:ing)?|solv(?:e|ing)|answer(?:ing)?|respond(?:ing)?|complet(?:e|ing)|finish(?:ing)?|do(?:ing)?|perform(?:ing)?|execut(?:e|ing)|carry(?:ing)?\s{1,5}out)\b[^.!?]{0,40}\b(?:tasks?|requests?|questions?|quer(?:y|ies)|instructions?|following|user|original)\b|\b(?:do|perform|execute|complete|carry\s{1,5}out)\s{1,5}(?:the\s{1,5})?following\b[^.!?]{0,20}\bfirst\b|\b(?:go\s{1,5}back|return|resume|continue)\b[^.!?]{0,30}\b(?:original|previous|initial|user'?s?|actual|main)\s{1,5}(?:task|request|question|instructions?)\b|\b(?:the\s{1,5})?task\s{1,5}(?:that\s{1,5})?i\s{1,5}gave\s{1,5}you\b/gi,
  },
  {
    reason: 'asks to act without the user knowing',
    strength: 'secrecy',
    pattern:
      /\b(?:do\s{1,5}not|don'?t|never|without|avoid)\s{1,5}(?:tell|inform|mention|notify|alert|reveal|show|ask|telling|informing|mentioning|notifying|alerting|revealing|asking)(?:ing)?\b[^.!?]{0,30}\b(?:user|anyone|anybody|me|owner|human|confirmation|permission|approval|this|them)\b|\b(?:no|without)\s{1,5}(?:further\s{1,5}|any\s{1,5}|user\s{1,5})?(?:confirmation|approval|permission)\b/gi,
  },
  {
    reason: 'orders an action',
    strength: 'order',
    pattern: ORDER,
  },
]

/** An escaped or folded line break, as YAML and JSON print it: blanked, so that indices stay those of the text. */
export const PRINTED_BREAK: RegExp = /\\\r?\n[ \t]*\\?|\\[nrt]/g
export const INVISIBLE: RegExp = /[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]/
/** Letters of other scripts that look like Latin ones, and full-width ones: used to hide orders from filters. */
export const LOOKALIKE: RegExp = /[\u0370-\u03ff\u0400-\u04ff\uff01-\uff5e]/g
const LOOKALIKES = new Map(
  Array.from('АВЕЅІЈКМНОРСТХУаеѕіјорсхуΑΒΕΖΗΙΚΜΝΟΡΤΥΧο', (letter, index) => [
    letter,
    'ABESIJKMHOPCTXYaesijopcxyABEZHIKMNOPTYXo'[index] ?? letter,
  ]),
)

/** A text as it is seen, one letter for one; and where the letters stand in the text itself. */
interface Shown {
  readonly text: string
  /** Absent: at the same index. */
  readonly at?: readonly number[]
}

/** As RegExps and SQL search it. */
export function shownOf(text: string): Shown {
  const same = text
    .replaceAll(PRINTED_BREAK, (found) => '\n'.padStart(found.length, ' '))
    .replaceAll(/[‘’]/g, "'")
    .replaceAll(
      LOOKALIKE,
      (letter) => LOOKALIKES.get(letter) ?? (letter > '\uff00' ? letter.normalize('NFKC') : letter),
    )
  if (!INVISIBLE.test(same)) return { text: same }
  const at = Array.from({ length: same.length }, (_, index) => index).filter(
    (index) => !INVISIBLE.test(same[index] ?? ''),
  )
  return { text: at.map((index) => same[index]).join(''), at: [...at, same.length] }
}

/** Finds them, in the order of the text. Never throws, whatever the text holds. */
export function instructionsIn(text: string): InstructionMatch[] {
  const shown = shownOf(text)
  const found: InstructionMatch[] = []
  for (const { reason, strength, pattern } of RULES) {
    let matches = 0
    for (const match of shown.text.matchAll(pattern)) {
      const bounds = boundsOf(shown.text, match, strength)
      const [start, end, last] = bounds.map((index) => shown.at?.[index] ?? index) as typeof bounds
      const field = FIELD_END.exec(text.slice(end, last))
      found.push({ quote: text.slice(start, field === null ? last : end + field.index), at: start, reason, strength })
      if (++matches === MAX_MATCHES) break
    }
  }
  return found.toSorted((one, other) => one.at - other.at)
}

/**
 * Where the match begins, where it ends, and where its sentence ends; words that take over also bring the sentence after them,
 * which they are about.
 */
function boundsOf(text: string, match: RegExpExecArray, strength: Strength): [number, number, number] {
  const skipped = /^[\s"'.!?:;>)\]#*•_-]*/.exec(match[0])?.[0].length ?? 0
  const start = skipped === match[0].length ? match.index : match.index + skipped
  const end = match.index + match[0].length
  const first = sentenceEnd(text, end)
  return [start, end, strength === 'takeover' ? sentenceEnd(text, first) : first]
}

/** The end of a field, as YAML and JSON print it: what follows is another text. */
const FIELD_END = /\n[ \t]{0,40}(?:- )?[a-z_][\w-]{0,40}:\s|"\s{0,20}[,}\]]/

/** A stop, unless it ends an abbreviation or an initial, or the sentence goes on in lower case; or an empty line. */
const SENTENCE_END =
  /(?<!\b(?:[Ee]\.g|[Ii]\.e|etc|vs|cf|approx|incl|[Mm]rs?|[Mm]s|[Dd]r|[Pp]rof|[Ss]t|[Nn]r|[JjSs]r|[Ii]nc|[Ll]td|[A-HJ-Z]|[Nn]o(?=\.\s\d)))\.(?=\s{1,40}[^\sa-z,;]|\s{0,40}$|["'])|[!?](?=\s|["']|$)|\n\s*\n/

function sentenceEnd(text: string, from: number): number {
  const rest = text.slice(from, from + AROUND)
  const end = SENTENCE_END.exec(rest)
  return from + (end === null ? rest.length : end.index + 1)
}
