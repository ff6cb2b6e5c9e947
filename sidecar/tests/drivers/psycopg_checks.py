"""psycopg 3, unmodified."""

import threading
import time
import uuid
from decimal import Decimal

import psycopg
import psycopg_pool
from psycopg import errors
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

import checks
from checks import check


def connect(**options):
    return psycopg.connect(**{"autocommit": True, **options})


def one(connection, text, values=None, **options):
    return connection.execute(text, values, **options).fetchone()


def refused(connection, text=checks.REFUSED, values=None, **options):
    try:
        connection.execute(text, values, **options)
    except errors.InsufficientPrivilege as error:
        return error.diag
    raise AssertionError(f"`{text}` went through")


@check
def connects_without_a_password():
    with connect() as connection:
        assert one(connection, "SELECT count(*) FROM orders") == (1000,)
        assert connection.info.backend_pid == one(connection, "SELECT pg_backend_pid()")[0]
        assert connection.info.server_version // 10000 >= 13


@check
def reads_every_type_as_text_and_binary():
    with connect() as connection:
        rows = [connection.execute("SELECT * FROM kinds", binary=binary).fetchone() for binary in (False, True)]
        for row in rows:
            assert row[1:7] == (True, -7, 9007199254740993, 0.5, Decimal("12345.6789"), "naïve"), row
            assert row[7] == b"\x00\xff\x10" and row[11] == uuid.UUID("0190b8c2-0000-7000-8000-000000000001")
            assert row[12] == {"a": [1, None]} and row[13] == ["one", "two, three", None]
        assert rows[0][1:14] == rows[1][1:14]


@check
def registers_types_of_the_database():
    with connect() as connection:
        info = EnumInfo.fetch(connection, "mood")
        assert info is not None and info.labels == ["sad", "ok", "happy"], info
        register_enum(info, connection)
        place = CompositeInfo.fetch(connection, "place")
        register_composite(place, connection)
        feeling, spot = one(connection, "SELECT feeling, spot FROM kinds WHERE id = 1")
        assert feeling.name == "happy" and (spot.x, spot.y) == (4, "five")


@check
def writes_where_it_is_allowed():
    with connect() as connection:
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO notes VALUES (%s, %s)", [(n, f"note {n}") for n in range(100)])
        assert cursor.rowcount == 100
        body = one(connection, "UPDATE notes SET body = %s WHERE id = %s RETURNING body", ("changed", 7))
        assert body == ("changed",)
        assert connection.execute("DELETE FROM notes WHERE id < 100").rowcount == 100


@check
def a_refusal_is_an_ordinary_error():
    with connect() as connection:
        for prepare in (False, True):
            diag = refused(connection, prepare=prepare)
            checks.names_what_is_missing(diag.sqlstate, diag.message_primary, diag.message_detail, diag.message_hint)
        values = refused(connection, "SELECT ssn FROM customers WHERE id = %s /* refused */", (1,))
        assert values.sqlstate == "42501"
        drop = refused(connection, "DROP TABLE orders /* refused */")
        assert "ask the data team" in drop.message_primary
        assert one(connection, "SELECT name FROM customers WHERE id = 1") == ("Ann",)


@check
def transactions_are_the_servers_own():
    with connect(autocommit=False) as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'kept')")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO notes VALUES (2, 'lost')")
                refused(connection)
                assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
                try:
                    connection.execute("SELECT 1")
                    raise AssertionError("25P02 was expected")
                except errors.InFailedSqlTransaction:
                    pass
                raise psycopg.Rollback()
        finally:
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        assert connection.execute("SELECT body FROM notes").fetchall() == [("kept",)]
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


@check
def prepared_statements_are_decided_again_after_a_policy_change():
    with connect(prepare_threshold=0) as connection:
        text = "SELECT amount FROM orders WHERE id = %s"
        for _ in range(3):
            assert one(connection, text, (4,))[0] == 6
        assert one(connection, "SELECT count(*) FROM pg_prepared_statements")[0] >= 1
        checks.policy("less")
        try:
            assert refused(connection, text, (4,)).sqlstate == "42501"
        finally:
            checks.policy("full")
        assert one(connection, text, (4,))[0] == 6


@check
def prepares_after_the_threshold_and_forgets_what_is_old():
    with connect(prepare_threshold=2) as connection:
        connection.prepared_max = 3
        for n in range(10):
            for _ in range(4):
                assert one(connection, f"SELECT {n}::int + %s::int", (1,)) == (n + 1,)


@check
def a_pipeline_aborts_as_the_server_says():
    with connect() as connection:
        with connection.pipeline() as pipeline:
            before = connection.execute("SELECT id FROM orders WHERE id = %s", (1,))
            pipeline.sync()
            bad = connection.execute("SELECT ssn FROM customers WHERE id = %s /* refused */", (1,))
            aborted = connection.execute("SELECT id FROM orders WHERE id = %s", (2,))
            try:
                pipeline.sync()
                raise AssertionError("the refusal was expected")
            except errors.InsufficientPrivilege:
                pass
            after = connection.execute("SELECT id FROM orders WHERE id = %s", (3,))
            assert before.fetchone() == (1,) and after.fetchone() == (3,)
            for cursor, kind in ((bad, errors.InsufficientPrivilege), (aborted, psycopg.OperationalError)):
                try:
                    cursor.fetchone()
                    raise AssertionError("no result was expected")
                except (kind, psycopg.ProgrammingError):
                    pass
        assert one(connection, "SELECT 1") == (1,)


@check
def a_deep_pipeline_is_answered_in_order():
    with connect() as connection, connection.pipeline():
        cursors = [connection.execute("SELECT id FROM orders WHERE id = %s", (n,)) for n in range(1, 501)]
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(1, 501)]


@check
def server_cursors_read_and_scroll():
    with connect(autocommit=False) as connection:
        with connection.cursor("mine", scrollable=True) as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT id FROM orders ORDER BY id")
            assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
            cursor.scroll(500, mode="absolute")
            assert cursor.fetchone() == (501,)
            assert len(list(cursor)) == 499
        with connection.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT id FROM orders ORDER BY id")
            connection.commit()
            assert cursor.fetchone() == (1,)
            checks.policy("less")
            try:
                cursor.fetchone()
                raise AssertionError("the cursor was read on")
            except psycopg.Error:
                pass
            finally:
                checks.policy("full")


@check
def copies_both_ways():
    with connect() as connection, connection.cursor() as cursor:
        with cursor.copy("COPY notes FROM STDIN") as copy:
            for n in range(5000):
                copy.write_row((n, f"note\t{n}"))
        with cursor.copy("COPY notes (id, body) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for n in range(5000, 6000):
                copy.write_row((n, f"note {n}"))
        with cursor.copy("COPY (SELECT id, body FROM notes ORDER BY id) TO STDOUT") as copy:
            rows = list(copy.rows())
        assert len(rows) == 6000 and rows[9] == ("9", "note\t9")
        try:
            with cursor.copy("COPY notes FROM STDIN") as copy:
                copy.write_row((1, "lost"))
                raise ZeroDivisionError()
        except ZeroDivisionError:
            pass
        for text in ("COPY orders FROM STDIN /* refused */", "COPY customers TO STDOUT /* refused */"):
            try:
                with cursor.copy(text) as copy:
                    copy.read() if "TO" in text else copy.write_row((1, "x", 1))
                raise AssertionError(f"`{text}` went through")
            except errors.InsufficientPrivilege:
                pass
        assert connection.execute("DELETE FROM notes").rowcount == 6000


@check
def a_cancel_arrives():
    with connect() as connection:
        for cancel in (connection.cancel, connection.cancel_safe):
            running = threading.Event()

            def stop(cancel=cancel, running=running):
                running.wait()
                time.sleep(0.3)
                cancel()

            thread = threading.Thread(target=stop)
            thread.start()
            try:
                running.set()
                connection.execute(checks.ENDLESS)
                raise AssertionError("it was not cancelled")
            except errors.QueryCanceled:
                pass
            thread.join()
            assert one(connection, "SELECT 1") == (1,)


@check
def a_large_result_streams():
    with connect() as connection, connection.cursor() as cursor:
        count = sum(1 for _ in cursor.stream(checks.MANY, size=1000))
        assert count == 1_000_000
        assert one(connection, "SELECT 1") == (1,)


@check
def a_pool_survives_refusals():
    with psycopg_pool.ConnectionPool(min_size=2, max_size=4, kwargs={"autocommit": True}) as pool:
        pool.wait()
        pids = set()
        for n in range(40):
            with pool.connection() as connection:
                pids.add(connection.info.backend_pid)
                if n % 2:
                    refused(connection)
        assert len(pids) <= 4 and pool.get_stats().get("connections_lost", 0) == 0


@check
def tls_is_spoken_where_it_is_asked_for():
    with connect(sslmode="require") as connection:
        assert connection.pgconn.ssl_in_use
        assert one(connection, "SELECT count(*) FROM orders") == (1000,)
        refused(connection)
        connection.cancel_safe()


@check
def settings_of_the_connection_string_count():
    with connect(options="-c statement_timeout=1234 -c datestyle=German", application_name="mine") as connection:
        assert one(connection, "SHOW statement_timeout") == ("1234ms",)
        assert one(connection, "SELECT current_setting('application_name')") == ("mine",)
        assert connection.info.parameter_status("DateStyle").startswith("German")
    try:
        connect(options="-c session_preload_libraries=x")
        raise AssertionError("the setting was taken")
    except psycopg.OperationalError as error:
        assert "session_preload_libraries" in str(error), error


if __name__ == "__main__":
    checks.main()
