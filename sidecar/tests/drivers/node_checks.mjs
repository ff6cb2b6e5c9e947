// node-postgres (`pg`, `pg-cursor`, `pg-copy-streams`), unmodified.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createRequire } from 'node:module'

// The packages are in the cache, not beside this file.
const load = createRequire(`${process.env.CHAPERONE_MODULES}/`)
const pg = load('pg')
const Cursor = load('pg-cursor')
const copyStreams = load('pg-copy-streams')

const REFUSED = 'SELECT name, ssn FROM customers /* refused */'
const MISSING = 'Select public.customers.ssn'
const ENDLESS = 'SELECT count(*) FROM orders a, orders b, orders c, orders d'
const MANY = "SELECT n, repeat('x', 100) AS x FROM generate_series(1, 1000000) n"

const policy = (name) => execFileSync(process.env.CHAPERONE_POLICY, [name])

async function connected(use, options = {}) {
  const client = new pg.Client(options)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

async function refused(client, ...query) {
  try {
    await client.query(...query)
  } catch (error) {
    assert.equal(error.code, '42501', error.message)
    return error
  }
  assert.fail(`\`${query[0]}\` went through`)
}

async function one(client, text, values) {
  const { rows } = await client.query({ text, values, rowMode: 'array' })
  return rows[0]?.[0]
}

const checks = {
  connects_without_a_password: () =>
    connected(async (client) => {
      assert.equal(await one(client, 'SELECT count(*) FROM orders'), '1000')
      assert.equal(await one(client, 'SELECT pg_backend_pid()'), client.processID)
    }),

  // As text: its reader of binary values is not finished.
  reads_every_type: () =>
    connected(async (client) => {
      const { rows: [row] } = await client.query('SELECT * FROM kinds WHERE id = $1', [1])
      assert.equal(row.flag, true)
      assert.equal(row.small, -7)
      assert.equal(row.ratio, 0.5)
      assert.equal(row.name, 'naïve')
      assert.deepEqual([...row.raw], [0, 255, 16])
      assert.deepEqual(row.doc, { a: [1, null] })
      assert.deepEqual(row.tags, ['one', 'two, three', null])
      assert.equal(row.feeling, 'happy')
    }),

  writes_where_it_is_allowed: () =>
    connected(async (client) => {
      for (let n = 0; n < 50; n++) await client.query('INSERT INTO notes VALUES ($1, $2)', [n, `note ${n}`])
      const changed = await client.query('UPDATE notes SET body = $1 WHERE id < 10 RETURNING body', ['changed'])
      assert.equal(changed.rowCount, 10)
      assert.equal((await client.query('DELETE FROM notes')).rowCount, 50)
    }),

  a_refusal_is_an_ordinary_error: () =>
    connected(async (client) => {
      const error = await refused(client, REFUSED)
      assert.equal(error.message, `refused by policy: ${MISSING}`)
      assert.equal(error.detail, `no rule allows ${MISSING}`)
      assert.match(error.hint, /add `Select public\.customers\.ssn` to an AccessPolicy for Connection `drivers\//)
      await refused(client, 'SELECT ssn FROM customers WHERE id = $1 /* refused */', [1])
      const drop = await refused(client, 'SELECT 1; DROP TABLE orders /* refused */')
      assert.match(drop.message, /ask the data team/)
      assert.equal(await one(client, 'SELECT name FROM customers WHERE id = 1'), 'Ann')
    }),

  queued_queries_are_answered_in_order: () =>
    connected(async (client) => {
      const sent = [
        client.query('SELECT 1 AS n'), refused(client, REFUSED), client.query('SELECT 2 AS n'),
        refused(client, 'SELECT ssn FROM customers WHERE id = $1 /* refused */', [2]), client.query('SELECT 3 AS n'),
      ]
      const answers = await Promise.all(sent)
      assert.deepEqual([0, 2, 4].map((at) => answers[at].rows[0].n), [1, 2, 3])
    }),

  transactions_are_the_servers_own: () =>
    connected(async (client) => {
      await client.query("BEGIN; INSERT INTO notes VALUES (1, 'kept'); SAVEPOINT s")
      await refused(client, REFUSED)
      await assert.rejects(client.query('SELECT 1'), { code: '25P02' })
      await client.query('ROLLBACK TO s')
      assert.equal(await one(client, 'SELECT body FROM notes'), 'kept')
      await refused(client, 'DELETE FROM orders WHERE id = $1 /* refused */', [1])
      assert.equal((await client.query('COMMIT')).command, 'ROLLBACK')
      assert.equal(await one(client, 'SELECT count(*) FROM notes'), '0')
    }),

  prepared_statements_are_decided_again_after_a_policy_change: () =>
    connected(async (client) => {
      const prepared = (id) => ({ name: 'amount', text: 'SELECT amount FROM orders WHERE id = $1', values: [id] })
      assert.equal((await client.query(prepared(4))).rows[0].amount, '6.0')
      policy('less')
      try {
        await refused(client, prepared(4))
      } finally {
        policy('full')
      }
      assert.equal((await client.query(prepared(6))).rows[0].amount, '9.0')
    }),

  cursors_read_on: () =>
    connected(async (client) => {
      const cursor = client.query(new Cursor('SELECT id FROM orders WHERE id > $1 ORDER BY id', [10]))
      assert.deepEqual((await cursor.read(3)).map((row) => row.id), [11, 12, 13])
      assert.equal((await cursor.read(100)).length, 100)
      await cursor.close()
      const bad = client.query(new Cursor('SELECT ssn FROM customers /* refused */'))
      await assert.rejects(bad.read(1), { code: '42501' })
      assert.equal(await one(client, 'SELECT 1'), 1)
    }),

  copies_both_ways: () =>
    connected(async (client) => {
      const lines = Array.from({ length: 5000 }, (_, n) => `${n}\tnote ${n}\n`)
      await pipeline(Readable.from(lines), client.query(copyStreams.from('COPY notes FROM STDIN')))
      let read = 0
      for await (const part of client.query(copyStreams.to('COPY notes TO STDOUT'))) {
        read += part.toString().split('\n').length - 1
      }
      assert.equal(read, 5000)
      const bad = client.query(copyStreams.to('COPY customers TO STDOUT /* refused */'))
      await assert.rejects(async () => { for await (const _ of bad) assert.fail('data came') }, { code: '42501' })
      assert.equal((await client.query('DELETE FROM notes')).rowCount, 5000)
    }),

  a_cancel_arrives: () =>
    connected(async (client) => {
      const endless = client.query(ENDLESS)
      const cancel = async () => {
        // The driver's own cancel message, over a connection of its own.
        const other = new pg.Connection({ ssl: false })
        await new Promise((done) => setTimeout(done, 300))
        other.connect(Number(process.env.PGPORT), process.env.PGHOST)
        other.once('connect', () => other.cancel(client.processID, client.secretKey))
        await new Promise((done) => other.once('end', done))
      }
      await Promise.all([assert.rejects(endless, { code: '57014' }), cancel()])
      assert.equal(await one(client, 'SELECT 1'), 1)
    }),

  a_large_result_streams: () =>
    connected(async (client) => {
      const cursor = client.query(new Cursor(MANY, [], { rowMode: 'array' }))
      let count = 0
      for (let rows; (rows = await cursor.read(20000)).length > 0;) count += rows.length
      assert.equal(count, 1_000_000)
      await cursor.close()
    }),

  a_pool_survives_refusals: async () => {
    const pool = new pg.Pool({ max: 4 })
    const lost = []
    pool.on('error', (error) => lost.push(error))
    const use = async (n) => {
      // `pool.query` itself drops a connection after any error, whatever it was.
      const client = await pool.connect()
      try {
        if (n % 2) await refused(client, REFUSED)
        return await one(client, 'SELECT pg_backend_pid()')
      } finally {
        client.release()
      }
    }
    const pids = await Promise.all(Array.from({ length: 60 }, (_, n) => use(n)))
    assert.ok(new Set(pids).size <= 4)
    assert.deepEqual(lost, [])
    await pool.end()
  },

  tls_is_spoken_where_it_is_asked_for: () =>
    connected(async (client) => {
      assert.ok(client.connection.stream.encrypted)
      assert.equal(await one(client, 'SELECT count(*) FROM orders'), '1000')
      await refused(client, REFUSED)
    }, { ssl: { rejectUnauthorized: false } }),
}

let failed = 0
for (const [name, check] of Object.entries(checks)) {
  const begun = performance.now()
  try {
    await check()
    console.log(`ok     ${name} (${Math.round(performance.now() - begun)} ms)`)
  } catch (error) {
    failed++
    console.log(`FAILED ${name}: ${error.message}`)
  }
}
process.exit(failed ? 1 : 0)
