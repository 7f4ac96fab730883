/** What stands between a name and its value. */

/** Length of the operator at this place, 0 for none: `=`, `:`, `>`, two or three of them, or `=` and `:` as URLs and JSON escape them. */
export function operatorLength(text: string, at: number): number {
  switch (text.charCodeAt(at)) {
    case 58: // :
      return isSign(text.charCodeAt(at - 1)) ? 0 : text.charCodeAt(at + 1) === 61 ? 2 : 1
    case 61: // =
      if (isSign(text.charCodeAt(at - 1))) return 0
      if (text.charCodeAt(at + 1) !== 61) return text.charCodeAt(at + 1) === 62 ? 2 : 1
      return text.charCodeAt(at + 2) === 61 ? 3 : 2
    case 62: // >
      return isSign(text.charCodeAt(at - 1)) ? 0 : 1
    case 37: // %3D
      return text.charCodeAt(at + 1) === 51 && isHexSign(text.charCodeAt(at + 2)) ? 3 : 0
    case 92: // \u003d, \x3d
      if (text.startsWith('u003', at + 1)) return isHexSign(text.charCodeAt(at + 5)) ? 6 : 0
      return text.startsWith('x3', at + 1) && isHexSign(text.charCodeAt(at + 3)) ? 4 : 0
    default:
      return 0
  }
}

/** `:`, `=`, `>`. */
function isSign(code: number): boolean {
  return code === 58 || code === 61 || code === 62
}

/** The last digit of `=` and `:` as hexadecimal numbers. */
function isHexSign(code: number): boolean {
  const letter = code | 32
  return letter === 100 || letter === 97
}
