/** This machine lacks something: what was wanted, what it needs, what was found. Never our bug. */
export class Unsupported extends Error {
  readonly feature: string
  readonly needs: string
  readonly found: string

  constructor(feature: string, needs: string, found: string, cause?: unknown) {
    super(`${feature} needs ${needs}; found: ${found}`, { cause })
    this.name = 'Unsupported'
    this.feature = feature
    this.needs = needs
    this.found = found
  }
}
