"""asyncpg, unmodified."""

import asyncio
import io
from decimal import Decimal

import asyncpg

import checks
from checks import check


async def refused(connection, text=checks.REFUSED, *values):
    try:
        await (connection.fetch(text, *values))
    except asyncpg.InsufficientPrivilegeError as error:
        return error
    raise AssertionError(f"`{text}` went through")


@check
async def connects_without_a_password():
    connection = await asyncpg.connect()
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1000
    assert connection.get_server_pid() == await connection.fetchval("SELECT pg_backend_pid()")
    await connection.close()


@check
async def reads_every_type_after_looking_it_up():
    connection = await asyncpg.connect()
    row = await connection.fetchrow("SELECT * FROM kinds")
    assert row["big"] == 9007199254740993 and row["price"] == Decimal("12345.6789") and row["raw"] == b"\x00\xff\x10"
    assert row["tags"] == ["one", "two, three", None] and row["feeling"] == "happy" and row["spot"] == (4, "five")
    assert row["between"].upper == 5 and row["count"] == 3 and row["span"].days == 1
    moods = await connection.fetchval("SELECT $1::mood[]", ["sad", "ok"])
    assert moods == ["sad", "ok"]
    await connection.reload_schema_state()
    assert await connection.fetchval("SELECT feeling FROM kinds WHERE id = $1", 1) == "happy"
    await connection.close()


@check
async def writes_where_it_is_allowed():
    connection = await asyncpg.connect()
    await connection.executemany("INSERT INTO notes VALUES ($1, $2)", [(n, f"note {n}") for n in range(300)])
    changed = await connection.fetchval("UPDATE notes SET body = $1 WHERE id = $2 RETURNING body", "changed", 7)
    assert changed == "changed"
    assert await connection.execute("DELETE FROM notes") == "DELETE 300"
    await connection.close()


@check
async def a_refusal_is_an_ordinary_error():
    connection = await asyncpg.connect()
    error = await refused(connection)
    checks.names_what_is_missing(error.sqlstate, error.message, error.detail, error.hint)
    await refused(connection, "SELECT ssn FROM customers WHERE id = $1 /* refused */", 1)
    try:
        await connection.executemany("DELETE FROM orders WHERE id = $1 /* refused */", [(1,), (2,)])
        raise AssertionError("it went through")
    except asyncpg.InsufficientPrivilegeError:
        pass
    try:
        await connection.execute("SELECT 1; DROP TABLE orders /* refused */")
        raise AssertionError("it went through")
    except asyncpg.InsufficientPrivilegeError as drop:
        assert "ask the data team" in drop.message, drop.message
    assert await connection.fetchval("SELECT name FROM customers WHERE id = 1") == "Ann"
    await connection.close()


@check
async def transactions_are_the_servers_own():
    connection = await asyncpg.connect()
    outer = connection.transaction()
    await outer.start()
    await connection.execute("INSERT INTO notes VALUES (1, 'kept')")
    inner = connection.transaction()
    await inner.start()
    await connection.execute("INSERT INTO notes VALUES (2, 'lost')")
    await refused(connection)
    try:
        await connection.fetchval("SELECT 1")
        raise AssertionError("25P02 was expected")
    except asyncpg.InFailedSQLTransactionError:
        pass
    await inner.rollback()
    assert [tuple(row) for row in await connection.fetch("SELECT id, body FROM notes")] == [(1, "kept")]
    await outer.rollback()
    assert await connection.fetchval("SELECT count(*) FROM notes") == 0
    async with connection.transaction(isolation="serializable", readonly=True):
        assert await connection.fetchval("SELECT count(*) FROM orders") == 1000
    await connection.close()


@check
async def prepared_statements_are_decided_again_after_a_policy_change():
    connection = await asyncpg.connect()
    statement = await connection.prepare("SELECT amount FROM orders WHERE id = $1")
    assert [attribute.name for attribute in statement.get_attributes()] == ["amount"]
    assert await statement.fetchval(4) == 6
    checks.policy("less")
    try:
        await statement.fetchval(4)
        raise AssertionError("it went through")
    except asyncpg.InsufficientPrivilegeError:
        pass
    finally:
        checks.policy("full")
    assert await statement.fetchval(4) == 6
    await connection.close()


@check
async def a_changed_table_is_noticed():
    connection = await asyncpg.connect()
    await connection.execute("CREATE TEMP TABLE scratch (a int)")
    await connection.execute("INSERT INTO scratch VALUES (1)")
    assert tuple(await connection.fetchrow("SELECT * FROM scratch")) == (1,)
    await connection.execute("DROP TABLE scratch")
    await connection.execute("CREATE TEMP TABLE scratch (a text, b int)")
    assert await connection.fetch("SELECT * FROM scratch") == []
    await connection.close()


@check
async def cursors_read_on():
    connection = await asyncpg.connect()
    async with connection.transaction():
        ids = [row["id"] async for row in connection.cursor("SELECT id FROM orders ORDER BY id", prefetch=70)]
        assert ids == list(range(1, 1001))
        cursor = await connection.cursor("SELECT id FROM orders WHERE id > $1 ORDER BY id", 10)
        assert (await cursor.fetchrow())["id"] == 11
        await cursor.forward(100)
        assert (await cursor.fetch(2))[1]["id"] == 113
    await connection.close()


@check
async def copies_both_ways():
    connection = await asyncpg.connect()
    records = [(n, f"note {n}") for n in range(5000)]
    assert await connection.copy_records_to_table("notes", records=records) == "COPY 5000"
    out = io.BytesIO()
    assert await connection.copy_from_table("notes", output=out, format="csv") == "COPY 5000"
    assert out.getvalue().count(b"\n") == 5000
    out.seek(0)
    assert await connection.copy_to_table("notes", source=out, format="csv") == "COPY 5000"
    query = io.BytesIO()
    await connection.copy_from_query("SELECT name FROM customers WHERE id = $1", 2, output=query)
    assert query.getvalue() == b"Bob\n"
    for copy in (
        connection.copy_from_table("customers", output=io.BytesIO()),
        connection.copy_records_to_table("orders", records=[(1, "x", 1)]),
    ):
        try:
            await copy
            raise AssertionError("it went through")
        except asyncpg.InsufficientPrivilegeError:
            pass
    try:
        await connection.copy_records_to_table("notes", records=[("not a number", 1)])
        raise AssertionError("it went through")
    except (asyncpg.DataError, TypeError):
        pass
    assert await connection.execute("DELETE FROM notes") == "DELETE 10000"
    await connection.close()


@check
async def a_cancel_arrives():
    connection = await asyncpg.connect()
    try:
        await connection.fetchval(checks.ENDLESS, timeout=0.3)
        raise AssertionError("it was not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@check
async def a_large_result_streams():
    connection = await asyncpg.connect()
    async with connection.transaction():
        count = 0
        async for _ in connection.cursor(checks.MANY, prefetch=20000):
            count += 1
        assert count == 1_000_000
    await connection.close()


@check
async def a_pool_survives_refusals():
    async with asyncpg.create_pool(min_size=2, max_size=4) as pool:

        async def use(n):
            async with pool.acquire() as connection:
                if n % 2:
                    await refused(connection)
                return await connection.fetchval("SELECT pg_backend_pid()")

        pids = await asyncio.gather(*(use(n) for n in range(60)))
        assert len(set(pids)) <= 4


@check
async def tls_is_spoken_where_it_is_asked_for():
    connection = await asyncpg.connect(ssl="require")
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1000
    await refused(connection)
    await connection.close()


if __name__ == "__main__":
    checks.main()
