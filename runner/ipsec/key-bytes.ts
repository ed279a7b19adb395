/** A key that must be asked for by name: printed, inspected, serialised or put into a message it is `[key]`. */
export class KeyBytes {
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  get length(): number {
    return this.#bytes.length
  }

  toString(): string {
    return '[key]'
  }

  toJSON(): string {
    return '[key]'
  }
}
