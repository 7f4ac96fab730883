/** The output of a command: the terminal, or a file that appears under its name once it is whole. */
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { Printer, type Terminal } from './terminal.ts'

export class Output implements AsyncDisposable {
  readonly #printer: Printer
  readonly #file: { readonly name: string; readonly partial: string; readonly handle: FileHandle } | undefined
  #committed = false

  private constructor(terminal: Terminal, file?: { name: string; partial: string; handle: FileHandle }) {
    this.#printer = new Printer({ ...terminal, ...(file === undefined ? {} : { out: () => undefined }) })
    this.#file = file
  }

  /** @param name - Undefined for the terminal. A file beside it, `<name>.<random>.partial`, takes the output until it is whole. */
  static async open(name: string | undefined, terminal: Terminal): Promise<Output> {
    if (name === undefined) return new Output(terminal)
    const partial = `${name}.${randomBytes(4).toString('hex')}.partial`
    return new Output(terminal, { name, partial, handle: await open(partial, 'wx') })
  }

  async write(data: string | Buffer): Promise<void> {
    if (this.#file !== undefined) await this.#file.handle.writeFile(data)
    else await this.#printer.print(data.toString())
  }

  /** All of the output is written: it stays. */
  async commit(): Promise<void> {
    if (this.#file === undefined) return this.#printer.flush()
    await this.#file.handle.close()
    await rename(this.#file.partial, this.#file.name)
    this.#committed = true
  }

  /** Removes what is not whole. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#file === undefined || this.#committed) return
    await this.#file.handle.close()
    await rm(this.#file.partial, { force: true })
  }
}
