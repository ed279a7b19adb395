import { failureText } from './failure-text.ts'
import { liveView } from './live-view.ts'
import { type Progress, progressOf, type RunStart, type StageStart } from './progress.ts'
import type { CaseResult } from './result.ts'
import { clip, durationText, type Environment, paint, printable, type Style, statusWord, styleOf } from './style.ts'
import { summaryText } from './summary-text.ts'

/** Where a run is told to a person. */
export interface ConsoleStream {
  write(text: string): unknown
  isTTY?: boolean
  columns?: number
  rows?: number
}

export interface ConsoleOptions {
  env: Environment
  /** Only what did not pass, and the summary. */
  quiet: boolean
  /** False where there is nothing to wait for: plain lines on a terminal as well. */
  live?: boolean
}

/** A live table on a terminal, plain lines otherwise; with `quiet` only failures and the summary. */
export function consoleProgress(stream: ConsoleStream, options: ConsoleOptions): Progress {
  const style = styleOf(stream, options.env)
  if (options.quiet) return quietProgress(stream, style)
  const live =
    options.live !== false && stream.isTTY === true && options.env.TERM !== 'dumb' && options.env.CI === undefined
  return live ? liveView(stream, style) : plainProgress(stream, style)
}

function quietProgress(stream: ConsoleStream, style: Style): Progress {
  const line = lineWriter(stream)
  return progressOf({
    caseFinished: result => {
      if (needsExplaining(result)) line(`${failureText(result, style)}\n`)
    },
    runFinished: result => line(summaryText(result, style)),
  })
}

/** One line as each case is decided: what a log file or CI shows. */
function plainProgress(stream: ConsoleStream, style: Style): Progress {
  const line = lineWriter(stream)
  return progressOf({
    runStarted: run => line(runLine(run)),
    stageStarted: stage => line(stageLine(stage)),
    stageReady: ({ stage, tookMs }) => line(`${stage}: up in ${durationText(tookMs)}`),
    caseFinished: result => line(needsExplaining(result) ? `${failureText(result, style)}\n` : caseLine(result, style)),
    warning: text => line(`warning: ${printable(text)}`),
    runFinished: result => line(summaryText(result, style)),
  })
}

export function needsExplaining(result: CaseResult): boolean {
  return result.status === 'fail' || result.status === 'inconclusive'
}

export function caseLine(result: CaseResult, style: Style): string {
  const reason = result.status === 'pass' ? '' : `: ${printable(result.message)}`
  const text = clip(style, `${result.id}  ${durationText(result.durationMs)}${reason}`, style.columns - 8)
  return `${paint(style, result.status, statusWord(result.status).padEnd(6))}  ${text}`
}

export function runLine(run: RunStart): string {
  const faults = run.faults.length > 0 ? `, faults ${run.faults.join(' ')}` : ''
  return `${plural(run.cases, 'case')} in ${plural(run.stages, 'stage')}, seed ${run.seed}${faults}`
}

export function stageLine(stage: StageStart): string {
  const size = `${plural(stage.nodes, 'node')}, ${plural(stage.pods, 'pod')}`
  return `${stage.stage}: ${stage.description}, ${size}, ${plural(stage.cases, 'case')}`
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}

function lineWriter(stream: ConsoleStream): (text: string) => void {
  return text => {
    stream.write(`${text}\n`)
  }
}
