import * as assert from 'uvu/assert'
import { objectPath } from '../bpf/object-path.ts'
import { BpfError } from '../generators/linux/libbpf.ts'
import { SyscallError } from '../generators/linux/libc.ts'
import { Unsupported as GeneratorUnsupported } from '../generators/unsupported.ts'
import { suite } from '../test/suite.ts'
import { exitOfTotals, explainError, strongestExit } from './exit.ts'
import { Interrupted } from './io.ts'
import { UserError, UserErrors } from './suite/errors.ts'
import { Unsupported } from './unsupported.ts'

const test = suite('exit')

const position = { file: 'a.yaml', line: 3, col: 5, length: 2, source: 'ttl: x' }
const esp = new Unsupported({ feature: 'ESP', needs: 'CONFIG_INET_ESP', found: 'a kernel without', remedy: 'use a VM' })

function thrownBy(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return error
  }
}

test('each kind of error has its code and never a stack', () => {
  const kinds: [unknown, number, RegExp][] = [
    [new UserError('bad-value', 'ttl must be a number', { position }), 2, /a\.yaml:3:5.*ttl must be a number/],
    [new UserError('unknown-target', 'no target mars', { hint: 'one of reference' }), 2, /no target mars\n {2}one of/],
    [esp, 3, /ESP: needs CONFIG_INET_ESP, found a kernel without\n {2}remedy: use a VM/],
    [new SyscallError('setns', 1), 3, /setns: EPERM[\s\S]*root/],
    [
      Object.assign(new Error('spawn tcpdump ENOENT'), { code: 'ENOENT', syscall: 'spawn tcpdump' }),
      3,
      /npm run setup/,
    ],
    [Object.assign(new Error('write: ENOSPC'), { code: 'ENOSPC', syscall: 'write' }), 3, /no space left/],
    [new Error('Failed to load shared library: libbpf.so.1'), 3, /libbpf1/],
    [new GeneratorUnsupported('the cap engine', 'a built cap', 'none'), 3, /cap engine needs a built cap/],
    [thrownBy(() => objectPath('nothing')), 3, /nothing\.bpf\.o is not built[\s\S]*remedy: npm run setup/],
    [new BpfError('bpf_object__open', 1), 3, /EPERM[\s\S]*root/],
    [new Interrupted('SIGINT'), 130, /stopped by SIGINT/],
    [new Interrupted('SIGTERM'), 143, /stopped by SIGTERM/],
    [new Error('while bringing it up', { cause: esp }), 3, /ESP/],
  ]
  for (const [error, exitCode, pattern] of kinds) {
    const explained = explainError(error)
    assert.is(explained.exitCode, exitCode, String(error))
    assert.match(explained.text, pattern)
    assert.not.match(explained.text, /\n {4}at /)
  }
})

test('anything else is our bug, with its stack and cause', () => {
  for (const bug of [
    new TypeError('x is undefined'),
    new SyscallError('bind', 22),
    new BpfError('load', 13, '', 'R1 !read_ok'),
    'a string',
    undefined,
  ]) {
    assert.is(explainError(bug).exitCode, 70)
    assert.match(explainError(bug).text, /this is a bug in castproof/)
  }
  assert.match(explainError(new Error('outer', { cause: new Error('inner') })).text, /outer[\s\S]*at [\s\S]*inner/)
})

test('of several errors all are told and the strongest decides', () => {
  const both = new UserErrors([new UserError('a', 'first', { position }), new UserError('b', 'second', { position })])
  assert.is(explainError(both).exitCode, 2)
  assert.match(explainError(both).text, /first[\s\S]*second/)
  assert.is(explainError(new AggregateError([esp, new TypeError('bug')])).exitCode, 70)
  assert.is(explainError(new AggregateError([new Interrupted('SIGTERM'), new TypeError('bug')])).exitCode, 143)
})

test('a teardown that fails as well does not hide the first error', () => {
  const teardown = Object.assign(new Error('disposal'), {
    name: 'SuppressedError',
    error: new TypeError('late'),
    suppressed: esp,
  })
  const { text, exitCode } = explainError(teardown)
  assert.is(exitCode, 70)
  assert.match(text, /ESP[\s\S]*late/)
})

test('a signal beats 70 beats 1 beats 4 beats 3 beats 0', () => {
  const order = [130, 70, 1, 4, 3, 0]
  for (const [i, code] of order.entries()) assert.is(strongestExit(...order.slice(i).toReversed()), code)
})

test('the verdicts decide the exit code of a run', () => {
  const none = { pass: 0, fail: 0, inconclusive: 0, skip: 0, waived: 0 }
  assert.is(exitOfTotals(none), 3)
  assert.is(exitOfTotals({ ...none, skip: 4 }), 3)
  assert.is(exitOfTotals({ ...none, skip: 4, pass: 1 }), 0)
  assert.is(exitOfTotals({ ...none, waived: 1 }), 0)
  assert.is(exitOfTotals({ ...none, pass: 9, inconclusive: 1 }), 4)
  assert.is(exitOfTotals({ ...none, pass: 9, inconclusive: 1, fail: 1 }), 1)
})

test.run()
