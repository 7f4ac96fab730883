/** Which sequences of letters some texts have, as bits: says fast that they cannot hold another text. */

/** A gram is so many letters. */
const GRAM = 4
/** Bits for each letter of a text: a text has fewer grams than letters, since most come again. */
const BITS = 4

/** Hashes of all grams of a text; none of a text that is shorter than one. */
export function gramsOf(text: string): Uint32Array {
  const grams = new Uint32Array(Math.max(0, text.length - GRAM + 1))
  let hash = 0
  for (let at = 0; at < text.length; at++) {
    // Eight bits are shifted out of 32 at each letter, so that four letters are left.
    hash = ((hash << 8) ^ (text.charCodeAt(at) * 0x9e3779b1)) >>> 0
    if (at >= GRAM - 1) grams[at - GRAM + 1] = Math.imul(hash, 0x85ebca6b) >>> 0
  }
  return grams
}

export class GramSketch {
  readonly #bits: Uint32Array
  /** Bits that a hash is shifted right, so that its upper ones are the index of a bit. */
  readonly #shift: number

  constructor(texts: readonly string[]) {
    const letters = texts.reduce((sum, { length }) => sum + length, 0)
    const log = Math.min(30, Math.max(10, Math.ceil(Math.log2(letters * BITS + 1))))
    this.#shift = 32 - log
    this.#bits = new Uint32Array(2 ** (log - 5))
    for (const text of texts) {
      for (const gram of gramsOf(text)) {
        const bit = gram >>> this.#shift
        this.#bits[bit >>> 5] = (this.#bits[bit >>> 5] ?? 0) | (1 << (bit & 31))
      }
    }
  }

  /** False: none of the texts holds a text with these grams. */
  mayHold(grams: Uint32Array): boolean {
    for (const gram of grams) {
      const bit = gram >>> this.#shift
      if (((this.#bits[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return false
    }
    return true
  }
}
