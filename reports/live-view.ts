import { createLogUpdate } from 'log-update'
import { failureText } from './failure-text.ts'
import type { Progress } from './progress.ts'
import type { CaseResult, Status } from './result.ts'
import { bold, clip, dim, durationText, paint, printable, type Style } from './style.ts'
import { summaryText } from './summary-text.ts'

const REDRAW_MS = 100
const RUNNING_SHOWN = 6

/** The moving part of a terminal: what is shown of it is a function of this. */
export interface LiveState {
  cases: number
  decided: Record<Status, number>
  ran: number
  stage: string
  phase: string
  /** Running cases and the step each is at, in the order they started. */
  running: Map<string, string>
  elapsedMs: number
}

/** A table that redraws itself ten times a second; failures stay above it, the summary replaces it. */
export function liveView(stream: { write(text: string): unknown }, style: Style): Progress {
  const state = emptyState()
  const screen = createLogUpdate(stream as NodeJS.WritableStream, { showCursor: true })
  const startedMs = performance.now()
  let timer: NodeJS.Timeout | undefined
  const draw = (): void => {
    state.elapsedMs = performance.now() - startedMs
    screen(liveText(state, style))
  }
  const keep = (text: string): void => {
    screen.clear()
    stream.write(`${text}\n`)
    draw()
  }
  return {
    ...stateChanges(state),
    runStarted: run => {
      state.cases = run.cases
      timer = setInterval(draw, REDRAW_MS)
      timer.unref()
      draw()
    },
    caseFinished: result => {
      countIn(state, result)
      if (result.status === 'fail' || result.status === 'inconclusive') keep(`${failureText(result, style)}\n`)
    },
    warning: text => keep(`warning: ${printable(text)}`),
    runFinished: result => {
      clearInterval(timer)
      screen.clear()
      screen.done()
      stream.write(`${summaryText(result, style)}\n`)
    },
  }
}

export function emptyState(): LiveState {
  const decided = { pass: 0, fail: 0, inconclusive: 0, skip: 0, waived: 0 }
  return { cases: 0, decided, ran: 0, stage: '', phase: 'planning', running: new Map(), elapsedMs: 0 }
}

type StateChanges = Omit<Progress, 'runStarted' | 'caseFinished' | 'warning' | 'runFinished'>

function stateChanges(state: LiveState): StateChanges {
  const to = (phase: string): void => {
    state.phase = phase
  }
  return {
    stageStarted: ({ stage, target }) => {
      state.stage = stage
      to(`bringing ${target} up`)
    },
    stageReady: () => to('sending'),
    caseStarted: ({ id }) => state.running.set(id, 'starting'),
    caseStep: ({ id, step, action }) => state.running.set(id, `${action} ${step}`),
    caseRan: ({ id }) => {
      state.running.delete(id)
      state.ran++
    },
    stageJudging: () => to('judging'),
    stageFinished: () => to('taking it down'),
  }
}

function countIn(state: LiveState, result: CaseResult): void {
  state.running.delete(result.id)
  state.decided[result.status]++
}

/** What the terminal shows for a state: at most nine lines, none wider than the terminal. */
export function liveText(state: LiveState, style: Style): string {
  const running = [...state.running].slice(0, RUNNING_SHOWN)
  const rest = state.running.size - running.length
  const lines = [
    clip(style, `${state.stage || 'castproof'}: ${state.phase}  ${durationText(state.elapsedMs)}`),
    progressLine(state, style),
    ...running.map(([id, step]) => dim(style, clip(style, `  ${id}  ${step}`))),
  ]
  return [...lines, ...(rest > 0 ? [dim(style, `  and ${rest} more`)] : [])].join('\n')
}

function progressLine(state: LiveState, style: Style): string {
  const decided = Object.values(state.decided).reduce((sum, n) => sum + n, 0)
  const done = Math.min(state.cases, Math.max(decided, state.ran))
  const counts = countWords(state)
  const figures = `${done}/${state.cases} run, ${decided} decided${counts.map(([, text]) => `, ${text}`).join('')}`
  const width = Math.min(30, style.columns - figures.length - 3)
  const tail = counts.map(([status, text]) => `, ${paint(style, status, text)}`).join('')
  const plain = `${done}/${state.cases} run, ${decided} decided`
  if (width < 5) return clip(style, figures)
  return `${bar(done / Math.max(1, state.cases), width, style)} ${bold(style, plain)}${tail}`
}

function countWords(state: LiveState): [Status, string][] {
  const words: [Status, string][] = [
    ['fail', `${state.decided.fail} failed`],
    ['inconclusive', `${state.decided.inconclusive} not judged`],
  ]
  return words.filter(([status]) => state.decided[status] > 0)
}

function bar(share: number, width: number, style: Style): string {
  const full = Math.round(share * width)
  return style.unicode ? '█'.repeat(full) + '░'.repeat(width - full) : `${'#'.repeat(full)}${'.'.repeat(width - full)}`
}
