import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundledSuites } from './files.ts'
import { suiteJsonSchema } from './schema.ts'

/** `node --import tsx runner/suite/write-schema.ts` after a change of the language. */
writeFileSync(join(bundledSuites(), 'schema.json'), `${JSON.stringify(suiteJsonSchema(), null, 1)}\n`)
