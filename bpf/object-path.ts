import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The object that `make` built from `NAME.bpf.c`: beside the sources in a checkout, two folders up from the compiled file in a package. */
export function objectPath(name: string): string {
  const file = `${name}.bpf.o`
  const places = [`./build/${file}`, `../../bpf/build/${file}`].map(place =>
    fileURLToPath(new URL(place, import.meta.url)),
  )
  const found = places.find(place => existsSync(place))
  if (found === undefined) throw new NotBuilt(file, places[0] ?? '')
  return found
}

/** Not made yet, which is no bug; `runner/exit.ts` knows it by its name. */
class NotBuilt extends Error {
  readonly remedy = 'npm run setup in the checkout'

  constructor(file: string, place: string) {
    super(`the BPF object ${file} is not built: ${place} is not there`)
    this.name = 'Unsupported'
  }
}
