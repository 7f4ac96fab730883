/** Texts of events, as values are searched in them. */
import { GramSketch } from './gram-sketch.ts'
import type { ProvenanceEvent, Speaker } from './held-texts.ts'
import { foldText, keysIn, squeezeText, type ValueKind } from './normal-form.ts'

export interface Value {
  readonly path: string
  readonly value: string
  readonly kind: ValueKind
}

/** A value, with the forms that it is searched by. */
export interface Sought extends Value {
  readonly folded: string
  /** Its first letters and digits, {@link PASSAGE_KEY} at most; empty for other kinds than text and id. */
  readonly squeezed: string
  /** Of the squeezed form. */
  readonly grams: Uint32Array
  readonly keys: readonly string[]
}

/** A passage is found by its first letters and digits: so many of them. */
export const PASSAGE_KEY = 80
/** A text of fewer letters and digits is searched as whole words. */
const SHORT_TEXT = 12
/** A shorter text is searched without a sketch. */
const SKETCHED_TEXT = 200
const BLOCK_SIZE = 32

/** One text of an event; what a search needs of it is made at the first need. */
export class SearchedText {
  readonly event: ProvenanceEvent
  readonly where: Speaker
  readonly #folded: string
  #squeezed: string | undefined
  #sketch: GramSketch | undefined
  readonly #keys: Map<ValueKind, ReadonlySet<string>> = new Map<ValueKind, ReadonlySet<string>>()

  constructor(event: ProvenanceEvent, where: Speaker, text: string) {
    this.event = event
    this.where = where
    this.#folded = foldText(text)
  }

  holds({ folded, squeezed, grams, keys, kind }: Sought): boolean {
    if (isKeyed(kind)) return keys.some((key) => this.keysOf(kind).has(key))
    if (!this.#mayHold(grams)) return false
    return kind === 'id' || squeezed.length < SHORT_TEXT ? this.#hasWord(folded) : this.squeezed().includes(squeezed)
  }

  keysOf(kind: ValueKind): ReadonlySet<string> {
    const known = this.#keys.get(kind)
    if (known !== undefined) return known
    const keys = new Set(keysIn(this.#folded, kind))
    this.#keys.set(kind, keys)
    return keys
  }

  squeezed(): string {
    return (this.#squeezed ??= squeezeText(this.#folded))
  }

  #mayHold(grams: Uint32Array): boolean {
    if (this.#folded.length < SKETCHED_TEXT) return true
    this.#sketch ??= new GramSketch([this.squeezed()])
    return this.#sketch.mayHold(grams)
  }

  #hasWord(word: string): boolean {
    for (let at = this.#folded.indexOf(word); at >= 0; at = this.#folded.indexOf(word, at + 1)) {
      if (!isWordCharacter(this.#folded[at - 1]) && !isWordCharacter(this.#folded[at + word.length])) return true
    }
    return false
  }
}

/** Texts that are asked together first: in a long session most values are in none of a block. */
export class TextBlock {
  readonly #texts: SearchedText[]
  #sketch: GramSketch | undefined
  readonly #keys: Map<ValueKind, ReadonlySet<string>> = new Map<ValueKind, ReadonlySet<string>>()

  constructor(text: SearchedText) {
    this.#texts = [text]
  }

  /** False: the block is full. */
  add(text: SearchedText): boolean {
    return this.#texts.length < BLOCK_SIZE && this.#texts.push(text) > 0
  }

  holding(value: Sought): SearchedText[] {
    if (this.#texts.length === BLOCK_SIZE && !this.#mayHold(value)) return []
    return this.#texts.filter((text) => text.holds(value))
  }

  #mayHold({ kind, keys, grams }: Sought): boolean {
    if (isKeyed(kind)) return keys.some((key) => this.#keysOf(kind).has(key))
    this.#sketch ??= new GramSketch(this.#texts.map((text) => text.squeezed()))
    return this.#sketch.mayHold(grams)
  }

  #keysOf(kind: ValueKind): ReadonlySet<string> {
    const known = this.#keys.get(kind)
    if (known !== undefined) return known
    const keys = new Set(this.#texts.flatMap((text) => [...text.keysOf(kind)]))
    this.#keys.set(kind, keys)
    return keys
  }
}

/** Whether values of the kind are found by their keys, and not by their letters. */
function isKeyed(kind: ValueKind): boolean {
  return kind !== 'text' && kind !== 'id'
}

function isWordCharacter(character: string | undefined): boolean {
  return character !== undefined && /[\p{L}\p{N}_]/u.test(character)
}
