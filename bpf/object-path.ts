import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The object that `make` built from `NAME.bpf.c`: beside the sources in a checkout, two folders up from the compiled file in a package. */
export function objectPath(name: string): string {
  const file = `${name}.bpf.o`
  const places = [`./build/${file}`, `../../bpf/build/${file}`].map(place =>
    fileURLToPath(new URL(place, import.meta.url)),
  )
  const found = places.find(place => existsSync(place))
  if (found === undefined) throw new Error(`${places[0]} is not there: build it with make -C bpf`)
  return found
}
