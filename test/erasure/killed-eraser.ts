/**
 * Runs the command line, and kills itself before the nth change of the folder of keys. Arguments: the folder, n, then those of the
 * command.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const [folder = '', nth, ...args] = process.argv.slice(2)
let left = Number(nth)
const opened = new Set<number>()

function before(isChange: boolean): void {
  if (isChange && left-- === 1) process.kill(process.pid, 'SIGKILL')
}

const isInside = (path: unknown): boolean => typeof path === 'string' && path.startsWith(folder)
const { openSync, writeSync, fsyncSync, linkSync, unlinkSync, renameSync } = fs
fs.openSync = (path, flags, mode) => {
  before(isInside(path) && flags !== 'r')
  const file = openSync(path, flags, mode)
  if (isInside(path)) opened.add(file)
  else opened.delete(file)
  return file
}
fs.writeSync = ((file: number, ...more: [string]) => {
  before(opened.has(file))
  return writeSync(file, ...more)
}) as typeof fs.writeSync
fs.fsyncSync = (file) => {
  before(opened.has(file))
  fsyncSync(file)
}
fs.linkSync = (from, to) => {
  before(isInside(to))
  linkSync(from, to)
}
fs.unlinkSync = (path) => {
  before(isInside(path))
  unlinkSync(path)
}
fs.renameSync = (from, to) => {
  before(isInside(to))
  renameSync(from, to)
}
syncBuiltinESMExports()

const { runCli } = await import('@agent-audit/cli')
const write = (text: string): void => void process.stdout.write(text)
process.exitCode = await runCli(args, { out: write, err: write, env: process.env, colors: false })
