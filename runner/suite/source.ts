import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml'
import { type Position, UserError } from './errors.ts'

export const MAX_FILE_BYTES = 1 << 20
const MAX_DEPTH = 32
const MAX_ALIASES = 50
const MAX_EXPANDED_NODES = 100_000

export type Path = readonly PropertyKey[]

/** A YAML file as plain values, and where each of them stands. */
export interface Source {
  file: string
  value: unknown
  /** Position of the value at `path`, or of the nearest thing above it that is there. */
  at(path: Path): Position
  /** Position of the key that ends `path`. */
  atKey(path: Path): Position
}

export type Parsed = { source: Source; errors: UserError[] } | { source?: undefined; errors: UserError[] }

/** Reads YAML without trusting it: size, encoding, depth and aliases are limited before any value is looked at. */
export function parseSource(file: string, bytes: Uint8Array): Parsed {
  const text = decodeText(file, bytes)
  if (text instanceof UserError) return { errors: [text] }
  const lines = lineCounter(text)
  const place = (offset: number, length: number) => position(file, text, lines, offset, length)
  const fail = (code: string, message: string, hint: string, offset = 0) => ({
    errors: [new UserError(code, message, { position: place(offset, 1), hint })],
  })
  const deep = tooDeep(text)
  if (deep !== undefined)
    return fail('too-deep', `nested deeper than ${MAX_DEPTH} levels`, 'a suite needs about eight', deep)
  const documents = parseAllDocuments(text, { prettyErrors: false, uniqueKeys: true, strict: true })
  if (!Array.isArray(documents) || documents.length === 0)
    return fail('empty-file', 'the file is empty', 'start it with `castproof: 1`; see docs/writing-suites.md')
  const document = documents[0]
  if (!document) return fail('empty-file', 'the file is empty', 'start it with `castproof: 1`')
  const errors = documents.flatMap(each =>
    firstCauses([...each.errors, ...each.warnings]).map(
      e =>
        new UserError('yaml', yamlMessage(e.code, e.message), {
          position: place(e.pos[0], Math.max(1, e.pos[1] - e.pos[0])),
          hint: yamlHint(e.code),
        }),
    ),
  )
  if (documents.length > 1) {
    const second = documents[1]?.range?.[0] ?? 0
    errors.push(
      ...fail('several-documents', 'more than one YAML document', 'one file is one suite: remove the `---`', second)
        .errors,
    )
  }
  const tag = tagOffset(document.contents)
  if (tag !== undefined)
    errors.push(...fail('tag', 'tags (`!…`) are not part of the suite language', 'remove the tag', tag).errors)
  const key = oddKey(document.contents)
  if (key !== undefined)
    errors.push(...fail('bad-key', 'a list or mapping stands where a key belongs', 'keys are words', key).errors)
  const aliases = aliasTrouble(document.contents)
  if (aliases)
    return { errors: [...errors, ...fail('aliases', aliases.message, 'write the values out', aliases.offset).errors] }
  if (errors.length > 0) return { errors }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null))
    return fail('empty-file', 'the file is empty', 'start it with `castproof: 1`; see docs/writing-suites.md')
  const root: Node = document.contents
  if (!isMap(root))
    return fail(
      'not-a-mapping',
      `expected a mapping at the top, found ${isSeq(root) ? 'a list' : 'a single value'}`,
      'start the file with `castproof: 1`',
      root.range?.[0],
    )
  const locate = (path: Path, key: boolean) => {
    const range = rangeOf(root, path, key)
    return place(range[0], Math.max(1, range[1] - range[0]))
  }
  return {
    source: {
      file,
      value: document.toJS({ maxAliasCount: MAX_ALIASES }),
      at: path => locate(path, false),
      atKey: path => locate(path, true),
    },
    errors: [],
  }
}

/** Filled before the parser runs: what stops earlier has a place too. */
function lineCounter(text: string): LineCounter {
  const lines = new LineCounter()
  lines.addNewLine(0)
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines.addNewLine(at + 1)
  return lines
}

function decodeText(file: string, bytes: Uint8Array): string | UserError {
  const position = { file, line: 1, col: 1, length: 1, source: '' }
  if (bytes.length > MAX_FILE_BYTES)
    return new UserError('too-large', `the file has ${bytes.length} bytes, more than the limit of ${MAX_FILE_BYTES}`, {
      position,
      hint: 'a suite is a few KiB: split it, or is this another kind of file?',
    })
  if (bytes.includes(0))
    return new UserError('binary', `this is not a text file (a NUL byte at offset ${bytes.indexOf(0)})`, {
      position,
      hint: 'suites are YAML in UTF-8',
    })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new UserError('not-utf8', `not UTF-8: the byte at offset ${firstBadByte(bytes)} begins no character`, {
      position,
      hint: 'save the file as UTF-8 (iconv -f latin1 -t utf-8)',
    })
  }
}

/** `TextDecoder` does not say where: U+FFFD stands where the first bad byte was. */
function firstBadByte(bytes: Uint8Array): number {
  const text = new TextDecoder('utf-8').decode(bytes)
  return Buffer.byteLength(text.slice(0, text.indexOf('\ufffd')))
}

/** Offset at which nesting passes the limit, by brackets and by indentation; the parser itself recurses, so it comes first. */
function tooDeep(text: string): number | undefined {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x5b || c === 0x7b) depth++
    else if ((c === 0x5d || c === 0x7d) && depth > 0) depth--
    else if (c === 0x23 && (i === 0 || text.charCodeAt(i - 1) <= 0x20)) i = lineEnd(text, i)
    if (depth > MAX_DEPTH) return i
  }
  const block = /^(?:[ -]*- ){33,}|^ {200,}/m.exec(text)
  return block?.index
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}

/** Counts what aliases would expand to without expanding them. */
function aliasTrouble(root: unknown): { message: string; offset: number } | undefined {
  const sizes = new Map<string, number>()
  let aliases = 0
  let offset = 0
  let lost: string | undefined
  const size = (node: unknown): number => {
    if (isPair(node)) return size(node.key) + size(node.value)
    if (isAlias(node)) {
      aliases++
      // Known only once the anchor's value has ended: an alias inside it would be endless.
      if (lost === undefined && !sizes.has(node.source)) {
        lost = node.source
        offset = node.range?.[0] ?? 0
      }
      offset ||= node.range?.[0] ?? 0
      return sizes.get(node.source) ?? 1
    }
    let total = 1
    if (isMap(node) || isSeq(node)) for (const item of node.items) total += size(item)
    if ((isMap(node) || isSeq(node) || isScalar(node)) && node.anchor) sizes.set(node.anchor, total)
    return total
  }
  const total = size(root)
  if (lost !== undefined) return { message: `no value before this one has the anchor \`${lost}\``, offset }
  if (total > MAX_EXPANDED_NODES)
    return { message: `aliases expand to ${total} values, more than ${MAX_EXPANDED_NODES}`, offset }
  if (aliases > MAX_ALIASES) return { message: `${aliases} aliases, more than the limit of ${MAX_ALIASES}`, offset }
  return undefined
}

/** Where the first value with a tag of its own stands. */
function tagOffset(node: unknown): number | undefined {
  if (isPair(node)) return tagOffset(node.key) ?? tagOffset(node.value)
  if (!isMap(node) && !isSeq(node) && !isScalar(node)) return undefined
  if (node.tag !== undefined) return node.range?.[0] ?? 0
  if (isScalar(node)) return undefined
  for (const item of node.items) {
    const inside = tagOffset(item)
    if (inside !== undefined) return inside
  }
  return undefined
}

/** Where the first key stands that is no single value. */
function oddKey(node: unknown): number | undefined {
  if (isPair(node)) {
    if (!isScalar(node.key)) return (node.key as Partial<Node> | null)?.range?.[0] ?? 0
    return oddKey(node.value)
  }
  if (!isMap(node) && !isSeq(node)) return undefined
  for (const item of node.items) {
    const inside = oddKey(item)
    if (inside !== undefined) return inside
  }
  return undefined
}

function rangeOf(root: Node, path: Path, key: boolean): [number, number] {
  let node: unknown = root
  let range: [number, number] = [root.range?.[0] ?? 0, (root.range?.[0] ?? 0) + 1]
  for (const [i, part] of path.entries()) {
    const last = i === path.length - 1
    if (isMap(node)) {
      const pair = node.items.find(item => isScalar(item.key) && String(item.key.value) === String(part))
      if (!pair) return range
      const keyRange = nodeRange(pair.key)
      if (keyRange) range = keyRange
      if (last && key) return range
      node = pair.value
    } else if (isSeq(node) && typeof part === 'number' && node.items[part] !== undefined) {
      node = node.items[part]
    } else return range
    const inner = nodeRange(node)
    if (
      inner &&
      (isScalar(node) || isAlias(node)
        ? !(isScalar(node) && node.value === null && inner[0] === inner[1])
        : isSeq(node) || last)
    )
      range = inner
  }
  return range
}

/** Where a node begins and ends; a collection is shown by its first character, else carets run over many lines. */
function nodeRange(node: unknown): [number, number] | undefined {
  if (isScalar(node) || isAlias(node)) return node.range ? [node.range[0], node.range[1]] : undefined
  if ((isMap(node) || isSeq(node)) && node.range) return [node.range[0], node.range[0] + 1]
  return undefined
}

function position(file: string, text: string, lines: LineCounter, offset: number, length: number): Position {
  const at = lines.lineStarts.length > 0 ? lines.linePos(Math.min(offset, text.length)) : { line: 1, col: offset + 1 }
  const line = Math.max(1, at.line)
  const start = lines.lineStarts[line - 1] ?? 0
  const source = text.slice(start, lineEnd(text, start)).replace(/\r$/, '')
  return {
    file,
    line,
    col: Math.max(1, at.col),
    length: Math.min(length, Math.max(1, source.length - at.col + 1)),
    source,
  }
}

/** A tab makes everything behind it look wrong. */
function firstCauses<E extends { code: string }>(errors: E[]): E[] {
  const tabs = errors.filter(({ code }) => code === 'TAB_AS_INDENT')
  return tabs.length > 0 ? tabs : errors
}

const YAML_ERRORS: Readonly<Record<string, { message?: string; hint: string }>> = {
  DUPLICATE_KEY: { message: 'this key is there twice in one mapping', hint: 'keep one of them' },
  TAB_AS_INDENT: { message: 'a tab is used to indent', hint: 'indent with spaces' },
  MULTIPLE_ANCHORS: { hint: 'a value has at most one anchor' },
  TAG_RESOLVE_FAILED: { message: 'tags (`!…`) are not part of the suite language', hint: 'remove the tag' },
}

function yamlMessage(code: string, message: string): string {
  return YAML_ERRORS[code]?.message ?? message.split('\n')[0] ?? message
}

function yamlHint(code: string): string {
  return YAML_ERRORS[code]?.hint ?? 'this is not valid YAML: quote the value, or check brackets and indentation'
}
