import * as assert from 'uvu/assert'
import { suite } from '../../../test/suite.ts'
import { Unsupported } from '../../unsupported.ts'
import { failureOf, isAbsent, isTaken, KubectlFailed } from './kubectl.ts'

const test = suite('what kubectl says')

const ARGS = ['get', 'nodes', '-o', 'json']

/** As kubectl 1.20 and 1.31 print them. */
const KNOWN: [said: string, needs: RegExp][] = [
  ['Unable to connect to the server: dial tcp 172.31.240.1:6443: i/o timeout', /API server/],
  ['The connection to the server localhost:8080 was refused - did you specify the right host or port?', /API server/],
  ['error: the server is currently unable to handle the request (ServiceUnavailable)', /API server/],
  ['Unable to connect to the server: net/http: TLS handshake timeout', /API server/],
  [
    'Error from server (Forbidden): nodes is forbidden: User "dev" cannot list resource "nodes" in API group "" at the cluster scope',
    /the right to get nodes/,
  ],
  ['error: You must be logged in to the server (Unauthorized)', /credentials/],
  ['error: context "nowhere" does not exist', /a context/],
  ['Error in configuration: context was not found for specified context: nowhere', /a context/],
  ['error: no context exists with the name: "nowhere"', /a context/],
  ['error: stat /nowhere: no such file or directory', /a kubeconfig/],
]

test('is told as what lacks, with a remedy', () => {
  for (const [said, needs] of KNOWN) {
    const error = failureOf(ARGS, said)
    assert.ok(error instanceof Unsupported, said)
    assert.match(error.message, needs, said)
    assert.ok(error.remedy, said)
  }
})

test('what is there already, or not there, is known; anything else is an answer of the cluster', () => {
  const taken = failureOf(['create'], 'Error from server (AlreadyExists): namespaces "castproof-run" already exists')
  assert.ok(isTaken(taken) && !isAbsent(taken))
  const absent = 'Error from server (NotFound): namespaces "castproof-run" not found'
  assert.ok(isAbsent(failureOf(ARGS, absent)))
  assert.ok(isAbsent(failureOf(ARGS, `error: the server doesn't have a resource type "ciliumnodes"`)))
  const other = failureOf(ARGS, 'Error from server (Invalid): Pod "x" is invalid')
  assert.ok(other instanceof KubectlFailed && !isAbsent(other) && !isTaken(other))
  assert.match(other.message, 'needs kubectl get nodes -o, found Error from server (Invalid): Pod "x" is invalid')
})

test.run()
