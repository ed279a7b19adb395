import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path/posix'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { suite } from '../test/suite.ts'

const test = suite('layers')

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDERS = ['generators', 'captures', 'bpf', 'reports', 'runner', 'deploy', 'test', 'bench']

/** The types that a suite, a sender and a matcher share: whoever builds or matches frames may name them. */
const CONTRACTS = ['generators/frame-spec.ts', 'generators/stream-spec.ts']

/** A zone is the longest of these that a path starts with. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'generators/wire/': ['generators/wire/'],
  'generators/linux/': ['generators/linux/', 'generators/wire/'],
  'generators/': ['generators/', 'generators/linux/', 'generators/wire/'],
  'captures/': ['captures/', 'generators/linux/', 'generators/wire/'],
  'bpf/': ['bpf/', 'generators/linux/', 'generators/wire/'],
  'reports/': ['reports/'],
  'runner/': ['runner/', 'generators/', 'generators/linux/', 'generators/wire/', 'captures/', 'bpf/', 'reports/'],
}

/** Packages that only their wrappers may know. */
const WRAPPED: Readonly<Record<string, (path: string) => boolean>> = {
  koffi: path => path.startsWith('generators/linux/'),
  cap: path => path === 'generators/transmit/cap.ts' || path === 'captures/cap.ts',
  'pcap-parser': path => path.startsWith('captures/'),
  xmlbuilder2: path => path.startsWith('reports/'),
  commander: path => path.startsWith('runner/c'),
}

const IMPORT =
  /^\s*(?:import|export)\s[^'"`;]*?from\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\b(?:import|require)\(\s*['"]([^'"]+)['"]\s*\)/gm

/** Everything a source imports, required or loaded later, as it is written. */
function importsOf(source: string): string[] {
  return [...source.matchAll(IMPORT)].flatMap(([, from, bare, called]) => from ?? bare ?? called ?? [])
}

/** Arrows that STYLE 2.2 does not allow, one line each. */
function violations(path: string, source: string): string[] {
  if (isTestCode(path)) return []
  return importsOf(source).flatMap(specifier => {
    const allowed = specifier.startsWith('.') ? mayImport(path, specifier) : mayUse(path, specifier)
    return allowed ? [] : [`${path} imports ${specifier}`]
  })
}

function isTestCode(path: string): boolean {
  return /^(test|bench)\/|\/testdata\//.test(path) || path.endsWith('.test.ts')
}

/** A bed or an example that tests alone import is test code, wherever it lies. */
function onlyForTests(files: ReadonlyMap<string, string>): Set<string> {
  const importers = new Map<string, string[]>()
  for (const [path, source] of files) {
    for (const specifier of importsOf(source).filter(one => one.startsWith('.'))) {
      const target = normalize(join(dirname(path), specifier))
      importers.set(target, [...(importers.get(target) ?? []), path])
    }
  }
  return new Set([...importers].filter(([, paths]) => paths.every(isTestCode)).map(([target]) => target))
}

function mayImport(path: string, specifier: string): boolean {
  const target = normalize(join(dirname(path), specifier))
  // What lies outside the folders is data: package.json.
  if (!FOLDERS.some(folder => target.startsWith(`${folder}/`))) return true
  if (CONTRACTS.includes(target)) return zoneOf(path) !== 'reports/'
  return (MAY_IMPORT[zoneOf(path)] ?? []).includes(zoneOf(target))
}

function mayUse(path: string, specifier: string): boolean {
  if (specifier.startsWith('node:')) return true
  const allowed = WRAPPED[specifier]
  return zoneOf(path) !== 'generators/wire/' && (allowed === undefined || allowed(path))
}

function zoneOf(path: string): string {
  const zones = Object.keys(MAY_IMPORT).filter(zone => path.startsWith(zone))
  return zones.sort((a, b) => b.length - a.length)[0] ?? path
}

function sources(): string[] {
  return FOLDERS.flatMap(folder =>
    readdirSync(join(ROOT, folder), { recursive: true }).map(name => join(folder, String(name))),
  ).filter(path => path.endsWith('.ts') && !path.includes('node_modules'))
}

test('every arrow goes the way that STYLE 2.2 allows', () => {
  const files = new Map(sources().map(path => [path, readFileSync(join(ROOT, path), 'utf8')]))
  assert.ok(files.size > 50, `only ${files.size} files found`)
  const forTests = onlyForTests(files)
  const judged = [...files].filter(([path]) => !forTests.has(path))
  assert.equal(
    judged.flatMap(([path, source]) => violations(path, source)),
    [],
  )
})

test('what only tests import is test code, what others import as well is not', () => {
  const files = new Map([
    ['bpf/bed.ts', `import { a } from '../runner/x.ts'`],
    ['bpf/a.test.ts', `import { a } from './bed.ts'\nimport { b } from './both.ts'`],
    ['bpf/b.ts', `import { b } from './both.ts'`],
  ])
  assert.equal([...onlyForTests(files)], ['bpf/bed.ts'])
})

test('every relative import says .ts', () => {
  const wrong = sources().flatMap(path =>
    importsOf(readFileSync(join(ROOT, path), 'utf8'))
      .filter(specifier => specifier.startsWith('.') && !/\.(ts|json)$/.test(specifier))
      .map(specifier => `${path} imports ${specifier}`),
  )
  assert.equal(wrong, [])
})

test('arrows that are forbidden are seen', () => {
  const forbidden: [string, string][] = [
    ['generators/wire/x.ts', `import { a } from '../frame.ts'`],
    ['generators/wire/x.ts', `import { z } from 'zod'`],
    ['generators/frame.ts', `import { a } from '../captures/ring.ts'`],
    ['generators/linux/x.ts', `import { a } from '../frame.ts'`],
    ['captures/x.ts', `import { a } from '../generators/frame.ts'`],
    ['captures/x.ts', `import type {\n  A,\n} from '../bpf/maps.ts'`],
    ['bpf/x.ts', `export { a } from '../captures/ring.ts'`],
    ['reports/x.ts', `import { a } from '../runner/exit.ts'`],
    ['reports/x.ts', `import type { FrameSpec } from '../generators/frame-spec.ts'`],
    ['reports/x.ts', `const a = await import('../captures/ring.ts')`],
    ['captures/x.ts', `import '../runner/cli.ts'`],
    ['runner/x.ts', `import { suite } from '../test/suite.ts'`],
    ['runner/x.ts', `import koffi from 'koffi'`],
    ['captures/ring.ts', `import cap from 'cap'`],
    ['captures/ring.ts', `const cap = require('cap')`],
  ]
  for (const [path, source] of forbidden) assert.is(violations(path, source).length, 1, `${path}: ${source}`)
})

test('arrows that are allowed are not', () => {
  const allowed: [string, string][] = [
    ['generators/frame.ts', `import { a } from './wire/ipv4.ts'`],
    ['captures/x.ts', `import type { FrameSpec } from '../generators/frame-spec.ts'`],
    [
      'captures/x.ts',
      `import { open } from '../generators/linux/libc.ts'\nimport { b } from '../generators/wire/udp.ts'`,
    ],
    ['captures/cap.ts', `const { Cap } = require('cap')`],
    ['bpf/x.ts', `import { open } from '../generators/linux/libbpf.ts'`],
    ['runner/commands/x.ts', `import { a } from '../../reports/console.ts'`],
    ['generators/linux/libc.ts', `import koffi from 'koffi'\nimport { constants } from 'node:os'`],
    ['captures/x.test.ts', `import { a } from '../generators/frame.ts'`],
    ['bench/x.ts', `import { a } from '../runner/cli.ts'`],
  ]
  for (const [path, source] of allowed) assert.equal(violations(path, source), [])
})

test.run()
