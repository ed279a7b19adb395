/** This machine lacks what a capture needs; `runner/exit.ts` knows it by its name and exits with 3. */
export class Unsupported extends Error {
  readonly feature: string
  readonly needs: string
  readonly found: string
  readonly remedy: string

  constructor(feature: string, needs: string, found: string, remedy: string, cause?: unknown) {
    super(`${feature}: needs ${needs}, found ${found}`, { cause })
    this.name = 'Unsupported'
    this.feature = feature
    this.needs = needs
    this.found = found
    this.remedy = remedy
  }
}
