/**
 * Confines a thread to a few files, by Linux's Landlock: it needs no privileges, and a confined thread cannot undo it. The
 * threads that it starts afterwards are confined as well; threads that run already are not.
 */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DataType, load, open } from 'ffi-rs'

/** The files and directories that a confined thread can open. Those that do not exist are passed over. */
export interface Reach {
  /** Files, and directories with all below them. */
  readonly read: readonly string[]
  /** Directories: everything below them can be read, written, made and removed. */
  readonly write: readonly string[]
  /** Directories that can be removed with all below them; files below them cannot be read. */
  readonly remove: readonly string[]
}

// x86-64, as the library is.
const SYS_PRCTL = 157
const SYS_LANDLOCK_CREATE_RULESET = 444
const SYS_LANDLOCK_ADD_RULE = 445
const SYS_LANDLOCK_RESTRICT_SELF = 446
const PR_SET_NO_NEW_PRIVS = 38
const VERSION_FLAG = 1
const RULE_PATH_BENEATH = 1
const O_PATH = 0x20_00_00

const WRITE_FILE = 1 << 1
const READ_FILE = 1 << 2
const READ_DIR = 1 << 3
const REMOVE_DIR = 1 << 4
const REMOVE_FILE = 1 << 5
const MAKE_DIR = 1 << 7
const MAKE_FILE = 1 << 8
/** ClickHouse links the data of a table from the directory of its database. A link leads no confined thread outside. */
const MAKE_LINK = 1 << 12
/** Moves from one directory to another: a dropped table's metadata. */
const REFER = 1 << 13
const TRUNCATE = 1 << 14
const READ = READ_FILE | READ_DIR
const WRITE = WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_FILE | MAKE_LINK | REFER | TRUNCATE

/** Number of access rights that each version of the interface knows, from version 1 on; later ones have the last. */
const RIGHTS = [13, 14, 15, 15, 16]
/** Linux 5.19. Version 1 lets no file move between directories, which ClickHouse does. */
const MIN_VERSION = 2

/** @returns `undefined` once the calling thread is confined; else why the kernel does not confine it. */
export function confineThread(reach: Reach): string | undefined {
  const version = callKernel(SYS_LANDLOCK_CREATE_RULESET, 0, 0, VERSION_FLAG)
  if (version < MIN_VERSION) {
    return 'the kernel has no Landlock (Linux 5.19 or newer, not switched off, allowed by the container)'
  }
  const all = 2 ** (RIGHTS[version - 1] ?? 16) - 1
  const ruleset = callKernel(SYS_LANDLOCK_CREATE_RULESET, numbers(all), 8, 0)
  for (const path of reach.read) allow(ruleset, path, READ)
  for (const path of reach.write) allow(ruleset, path, (READ | WRITE) & all)
  for (const path of reach.remove) {
    allow(ruleset, path, REMOVE_FILE | READ_DIR)
    allow(ruleset, dirname(path), REMOVE_DIR)
  }
  // What an account without privileges has to give up first.
  callKernel(SYS_PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
  if (callKernel(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) !== 0) return 'the kernel refused the Landlock rules'
  closeSync(ruleset)
  return undefined
}

/** A rule that cannot be added leaves its path closed. */
function allow(ruleset: number, path: string, rights: number): void {
  let file: number
  try {
    file = openSync(path, O_PATH)
  } catch {
    return
  }
  const isDirectory = fstatSync(file).isDirectory()
  const rule = Buffer.concat([numbers(isDirectory ? rights : rights & READ_FILE), Buffer.alloc(4)])
  rule.writeInt32LE(file, 8)
  callKernel(SYS_LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
  closeSync(file)
}

function numbers(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(8 * values.length)
  values.forEach((value, index) => buffer.writeBigUInt64LE(BigInt(value), 8 * index))
  return buffer
}

/** A system call. @returns Its answer; -1 for an error. */
function callKernel(...values: readonly (number | Buffer)[]): number {
  open({ library: 'libc', path: 'libc.so.6' })
  return load({
    library: 'libc',
    funcName: 'syscall',
    retType: DataType.I64,
    paramsType: values.map((value) => (typeof value === 'number' ? DataType.I64 : DataType.U8Array)),
    paramsValue: [...values],
  })
}
