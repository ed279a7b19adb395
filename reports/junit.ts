import { posix } from 'node:path'
import { create } from 'xmlbuilder2'
import { failureText } from './failure-text.ts'
import type { CaseResult, RunResult, Status } from './result.ts'
import { statusWord } from './style.ts'

/** GitLab refuses files of 30 MB; half of that leaves room for escapes. */
const FILE_BYTES = 15_000_000
const TEXT_LENGTH = 60_000
const NAME_LENGTH = 200
const PLAIN = { colour: false, unicode: false, columns: 100 }

export interface JunitOptions {
  /** A path relative to the run directory, as the consumer of the XML wants it (see attachmentPaths). */
  attachmentPath(relative: string): string
}

export interface JunitFile {
  name: string
  text: string
}

type Xml = ReturnType<typeof create>

/**
 * JUnit XML in the intersection that GitHub's, GitLab's, Jenkins' and Azure's readers share: one file an area folder, flat
 * suites, one `<failure>` or `<error>` a case with the message first in its text, one `<system-out>`, attachments last.
 */
export function junitFiles(result: RunResult, options: JunitOptions): JunitFile[] {
  const byArea = groupBy(result.cases, one => areaOf(one.id))
  if (byArea.size === 0) return [{ name: 'TEST-castproof.xml', text: fileText(result, [], options) }]
  return [...byArea].flatMap(([area, cases]) =>
    inParts(cases).map((part, i) => ({
      name: `TEST-${area}${i === 0 ? '' : `-${i + 1}`}.xml`,
      text: fileText(result, part, options),
    })),
  )
}

/** GitLab wants attachment paths from the project's root, Azure from the XML, Jenkins absolute ones. */
export function attachmentPaths(
  base: 'xml' | 'project' | 'absolute',
  where: { runDirectory: string; junitDirectory: string; projectDirectory: string },
): JunitOptions {
  const from = base === 'xml' ? where.junitDirectory : where.projectDirectory
  return {
    attachmentPath(relative) {
      const absolute = posix.resolve(where.runDirectory, relative)
      return base === 'absolute' ? absolute : posix.relative(from, absolute)
    },
  }
}

function areaOf(id: string): string {
  const slash = id.indexOf('/')
  const area = slash > 0 ? id.slice(0, slash) : 'castproof'
  return area.replace(/[^\w-]/g, '_')
}

function inParts(cases: readonly CaseResult[]): CaseResult[][] {
  const parts: CaseResult[][] = [[]]
  let bytes = 0
  for (const one of cases) {
    bytes += sizeOf(one)
    if (bytes > FILE_BYTES && parts.at(-1)?.length !== 0) {
      parts.push([])
      bytes = sizeOf(one)
    }
    parts.at(-1)?.push(one)
  }
  return parts
}

function sizeOf(one: CaseResult): number {
  const detailLengths = one.checks.flatMap(check => check.details).map(line => line.length)
  return (
    2000 +
    Math.min(
      TEXT_LENGTH,
      detailLengths.reduce((sum, n) => sum + n, 0),
    ) +
    one.attachments.length * 200
  )
}

function fileText(result: RunResult, cases: readonly CaseResult[], options: JunitOptions): string {
  const root = create({ version: '1.0', encoding: 'UTF-8' }).ele('testsuites', {
    name: 'castproof',
    ...figures(cases),
    timestamp: timestampOf(result.startedAt),
  })
  const suites = cases.length === 0 ? [['castproof', []] as const] : groupBy(cases, classNameOf)
  let id = 0
  for (const [name, members] of suites) addSuite(root, result, { name, id: id++, members }, options)
  return `${root.end({ prettyPrint: true })}\n`
}

/** Dots make Jenkins' package tree: `reference.igmp`. The target is part of it: one case may run on several. */
function classNameOf(one: CaseResult): string {
  return ascii(`${one.target}.${areaOf(one.id)}`)
}

interface Suite {
  name: string
  id: number
  members: readonly CaseResult[]
}

function addSuite(root: Xml, result: RunResult, { name, id, members }: Suite, options: JunitOptions): void {
  const suite = root.ele('testsuite', {
    name,
    ...figures(members),
    timestamp: timestampOf(members[0]?.startedAt ?? result.startedAt),
    hostname: ascii(result.host.hostname),
    id: String(id),
  })
  const properties = suite.ele('properties')
  for (const [key, value] of Object.entries(propertiesOf(result, members))) {
    if (value !== '') properties.ele('property', { name: key, value: xmlText(value) })
  }
  const names = uniqueNames(members)
  for (const [i, member] of members.entries()) addCase(suite, member, names[i] ?? member.id, name, options)
}

function propertiesOf(result: RunResult, members: readonly CaseResult[]): Record<string, string> {
  const target = result.targets.find(one => one.name === members[0]?.target)
  return {
    'castproof.version': result.version,
    'castproof.run': result.runId,
    sut: target?.description ?? '',
    sandbox: target?.sandbox ?? '',
    kernel: result.host.kernel,
    seed: String(result.seed),
    profiles: result.profiles.join(' '),
    faults: result.faults.join(' '),
  }
}

function addCase(suite: Xml, one: CaseResult, name: string, className: string, options: JunitOptions): void {
  const element = suite.ele('testcase', {
    classname: className,
    name,
    file: xmlText(one.file),
    line: String(one.line),
    time: secondsText(one.durationMs),
  })
  addVerdict(element, one)
  const attachments = one.attachments.map(path => `[[ATTACHMENT|${options.attachmentPath(path)}]]`)
  element.ele('system-out').txt(xmlText([...factsOf(one), ...attachments].join('\n')))
}

function addVerdict(element: Xml, one: CaseResult): void {
  if (one.status === 'pass') return
  const message = messageOf(one)
  if (one.status === 'skip' || one.status === 'waived') {
    element.ele('skipped', { message }).txt(message)
    return
  }
  const type = ascii(one.checks.find(check => check.status === one.status)?.check ?? one.status)
  const text = `${message}\n${failureText(one, PLAIN)}`.slice(0, TEXT_LENGTH)
  element.ele(one.status === 'fail' ? 'failure' : 'error', { message, type }).txt(xmlText(text))
}

function messageOf(one: CaseResult): string {
  const line = ascii(one.message.replace(/\s+/g, ' ').trim()) || statusWord(one.status)
  return (one.status === 'waived' && !/^waived/i.test(line) ? `WAIVED: ${line}` : line).slice(0, NAME_LENGTH)
}

/** GitLab, Azure and dorny drop properties, so what identifies a verdict is in the text too. */
function factsOf(one: CaseResult): string[] {
  const covers = one.covers.map(({ id, rfc }) => `${id} (${rfc})`).join(', ')
  const checks = one.checks.map(({ check, status, message }) => `${check} ${statusWord(status)}: ${message}`)
  const measured = one.checks.flatMap(({ measurements }) => Object.entries(measurements).map(([k, v]) => `${k}=${v}`))
  const efficiency =
    one.replicationEfficiency === undefined ? [] : [`replicationEfficiency=${one.replicationEfficiency}`]
  return [
    `verdict=${statusWord(one.status)} target=${one.target} id=${one.id} covers=${covers || 'none'}`,
    one.title,
    ...checks,
    ...(measured.length > 0 ? [measured.join(' ')] : []),
    ...efficiency,
  ]
}

function figures(cases: readonly CaseResult[]): Record<string, string> {
  const count = (...statuses: Status[]): string => String(cases.filter(one => statuses.includes(one.status)).length)
  return {
    tests: String(cases.length),
    failures: count('fail'),
    errors: count('inconclusive'),
    skipped: count('skip', 'waived'),
    time: secondsText(cases.reduce((sum, one) => sum + one.durationMs, 0)),
  }
}

/** A case's history hangs on its name: id and matrix values come first, so the 200th character never cuts them off. */
function uniqueNames(cases: readonly CaseResult[]): string[] {
  const times = new Map<string, number>()
  return cases.map(one => {
    const local = one.id.slice(one.id.indexOf('/') + 1)
    const name = ascii(`${local}: ${one.title}`.replace(/\s+/g, ' ')).slice(0, NAME_LENGTH - 7)
    const nth = (times.get(name) ?? 0) + 1
    times.set(name, nth)
    return nth === 1 ? name : `${name} (${nth})`
  })
}

function secondsText(ms: number): string {
  return (Math.max(0, ms) / 1000).toFixed(3)
}

/** UTC without a zone: Jenkins and Azure both read that. */
function timestampOf(iso: string): string {
  return new Date(iso).toISOString().slice(0, 19)
}

function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}

/** Without what XML 1.0 §2.2 does not allow: control characters, lone surrogates, U+FFFE and U+FFFF. */
function xmlText(text: string): string {
  return text.replace(/[\p{Cs}\ufffe\uffff]|(?![\t\n\r])\p{Cc}/gu, '')
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}
