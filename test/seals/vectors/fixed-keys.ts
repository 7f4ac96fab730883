/** Keys of the conformance vectors: their seeds are one byte, 32 times. */
import { createPrivateKey } from 'node:crypto'
import { KeySigner } from '@agent-audit/seals'

export type Vectors = Readonly<Record<string, unknown>>

export function seedOf(byte: number): Buffer {
  return Buffer.alloc(32, byte)
}

/** PKCS8 of that seed. */
export function privateKeyOf(byte: number): { key: Buffer; format: 'der'; type: 'pkcs8' } {
  const key = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seedOf(byte)])
  return { key, format: 'der', type: 'pkcs8' }
}

export function keyOf(name: string, byte: number): KeySigner {
  return new KeySigner(name, createPrivateKey(privateKeyOf(byte)))
}
