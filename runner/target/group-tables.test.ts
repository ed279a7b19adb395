import * as assert from 'uvu/assert'
import { suite } from '../../test/suite.ts'
import { groupTablesOf } from './group-tables.ts'

const test = suite('tables of groups')

test('as cilium-dbg prints them', () => {
  const text =
    '[{"group_address":"239.255.0.1","subscribers":[{"SAddr":"10.244.1.86","Ifindex":7,"IsRemote":true},{"SAddr":"10.244.0.3","Ifindex":9,"IsRemote":false}]},{"group_address":"225.0.0.11","subscribers":null}]'
  assert.equal(groupTablesOf(text), [
    {
      group: '239.255.0.1',
      subscribers: [
        { subscriber: '10.244.1.86', type: 'Remote Node' },
        { subscriber: '10.244.0.3', type: 'Local Endpoint' },
      ],
    },
    { group: '225.0.0.11', subscribers: [] },
  ])
})

test('as castproof mcast prints them', () => {
  const own = [{ group: '225.0.0.11', subscribers: [{ subscriber: '10.1.0.1', type: 'Local Endpoint' }] }]
  assert.equal(groupTablesOf(JSON.stringify(own)), own)
})

test('what is no table is not taken for an empty one', () => {
  // Versions whose fields were not exported print empty objects.
  for (const text of [
    '[{}]',
    '[{"group_address":"239.255.0.1","subscribers":[{}]}]',
    '{}',
    '[{"group":"10.0.0.1","subscribers":[]}]',
  ])
    assert.throws(() => groupTablesOf(text), undefined, text)
  assert.equal(groupTablesOf('[]'), [])
  assert.equal(groupTablesOf('null'), [])
})

test.run()
