import { probe } from '../probe.ts'

/** The guest's side of capabilities.ts: tries what it is asked for, by name. */
console.log(JSON.stringify(await probe(process.argv.slice(2))))
process.exit()
