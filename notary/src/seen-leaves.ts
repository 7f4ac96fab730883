/** The leaves that a log has, as 16 bytes of each hash: whether a message repeats one. An open hash table, 21 to 43 bytes a leaf. */

const KEY_BYTES = 16
const FIRST_SLOTS = 1024
/** Above this share of used slots it doubles. */
const MOST_USED = 0.75

export class SeenLeaves {
  #slots = FIRST_SLOTS
  #keys = Buffer.alloc(FIRST_SLOTS * KEY_BYTES)
  #count = 0

  /** @returns false, if the leaf was there before */
  add(leafHash: Buffer): boolean {
    if (!this.#put(leafHash)) return false
    this.#count += 1
    if (this.#count > this.#slots * MOST_USED) this.#grow()
    return true
  }

  has(leafHash: Buffer): boolean {
    const at = this.#find(leafHash)
    return !isFree(this.#keys, at)
  }

  #put(key: Buffer): boolean {
    const at = this.#find(key)
    if (!isFree(this.#keys, at)) return false
    key.copy(this.#keys, at, 0, KEY_BYTES)
    return true
  }

  /** Position of the key, or of the free slot for it. A key of zeros would be SHA-256 with 128 zero bits: there is none. */
  #find(key: Buffer): number {
    for (let slot = key.readUInt32LE(0) % this.#slots; ; slot = (slot + 1) % this.#slots) {
      const at = slot * KEY_BYTES
      if (isFree(this.#keys, at) || this.#keys.compare(key, 0, KEY_BYTES, at, at + KEY_BYTES) === 0) return at
    }
  }

  #grow(): void {
    const old = this.#keys
    this.#slots *= 2
    this.#keys = Buffer.alloc(this.#slots * KEY_BYTES)
    for (let at = 0; at < old.length; at += KEY_BYTES) {
      if (!isFree(old, at)) this.#put(old.subarray(at, at + KEY_BYTES))
    }
  }
}

function isFree(keys: Buffer, at: number): boolean {
  return keys.readBigUInt64LE(at) === 0n && keys.readBigUInt64LE(at + 8) === 0n
}
