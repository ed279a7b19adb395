/** An error inside a virtual machine, already told as a person reads it. */
export class GuestError extends Error {
  readonly exitCode: number

  constructor(text: string, exitCode: number) {
    super(text)
    this.name = 'GuestError'
    this.exitCode = exitCode
  }
}
