/** Values of the right form, the same in each run. They are put together here, so that no scanner takes this repository for a leak. */

const LOWER = 'abcdefghijklmnopqrstuvwxyz'
export const HEX = '0123456789abcdef'
export const DIGITS = '0123456789'
export const UPPER_DIGITS = `${LOWER.toUpperCase()}${DIGITS}`
export const LETTERS_DIGITS = `${LOWER}${UPPER_DIGITS}`
export const WORD = `${LETTERS_DIGITS}_-`

let state = 20_260

/** A linear congruential generator: Knuth's constants. */
function next(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return state / 2 ** 32
}

/** Random characters; a digit among them, as in any of that length. */
export function some(length: number, alphabet: string = LETTERS_DIGITS): string {
  const characters = Array.from({ length }, () => alphabet.charAt(Math.floor(next() * alphabet.length)))
  if (/\d/.test(alphabet) && !/\d/.test(characters.join(''))) characters[length >> 1] = '7'
  return characters.join('')
}
