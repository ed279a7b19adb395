/** This machine or the SUT lacks something: a skip in a case, the end of a run (ARCHITECTURE section 9: exit 3). */
export class Unsupported extends Error {
  readonly feature: string
  readonly needs: string
  readonly found: string
  /** What a person can do about it; empty when nothing helps. */
  readonly remedy: string

  constructor(lack: { feature: string; needs: string; found: string; remedy?: string }) {
    super(`${lack.feature}: needs ${lack.needs}, found ${lack.found}`)
    this.name = 'Unsupported'
    this.feature = lack.feature
    this.needs = lack.needs
    this.found = lack.found
    this.remedy = lack.remedy ?? ''
  }
}
