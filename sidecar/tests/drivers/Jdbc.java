import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

/** The JDBC driver of PostgreSQL, unmodified. */
public final class Jdbc {
    private static final String REFUSED = "SELECT name, ssn FROM customers /* refused */";
    private static final String MISSING = "Select public.customers.ssn";
    private static final String ENDLESS = "SELECT count(*) FROM orders a, orders b, orders c, orders d";
    private static final String MANY = "SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n";

    interface Check {
        void run() throws Exception;
    }

    public static void main(String[] arguments) {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("connects_without_a_password", Jdbc::connects);
        checks.put("reads_every_type_as_text_and_binary", Jdbc::readsTypes);
        checks.put("writes_where_it_is_allowed", Jdbc::writes);
        checks.put("a_refusal_is_an_ordinary_error", Jdbc::refusal);
        checks.put("a_batch_stops_at_a_refusal", Jdbc::batch);
        checks.put("transactions_are_the_servers_own", Jdbc::transactions);
        checks.put("savepoints_of_the_driver_recover", Jdbc::autosave);
        checks.put("prepared_statements_are_decided_again_after_a_policy_change", Jdbc::prepared);
        checks.put("metadata_is_readable", Jdbc::metadata);
        checks.put("copies_both_ways", Jdbc::copies);
        checks.put("a_cancel_arrives", Jdbc::cancel);
        checks.put("a_large_result_streams", Jdbc::large);
        checks.put("tls_is_spoken_where_it_is_asked_for", Jdbc::tls);
        boolean failed = false;
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            long begun = System.nanoTime();
            try {
                check.getValue().run();
                long millis = (System.nanoTime() - begun) / 1_000_000;
                System.out.printf("ok     %s (%d ms)%n", check.getKey(), millis);
            } catch (Exception | AssertionError error) {
                failed = true;
                System.out.printf("FAILED %s: %s%n", check.getKey(), error);
            }
        }
        System.exit(failed ? 1 : 0);
    }

    private static Connection connect(String options) throws SQLException {
        Map<String, String> env = System.getenv();
        String place = env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
        return DriverManager.getConnection("jdbc:postgresql://" + place + "?user=agent&" + options);
    }

    private static Connection connect() throws SQLException {
        return connect("ApplicationName=checks");
    }

    private static void policy(String name) throws Exception {
        int code = new ProcessBuilder(System.getenv("CHAPERONE_POLICY"), name).start().waitFor();
        expect(0, code);
    }

    private static void expect(Object wanted, Object found) {
        if (!wanted.equals(found)) {
            throw new AssertionError(found + " instead of " + wanted);
        }
    }

    private static String one(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(text)) {
            rows.next();
            return rows.getString(1);
        }
    }

    private static PSQLException fails(String sqlstate, Check check) throws Exception {
        try {
            check.run();
        } catch (PSQLException error) {
            expect(sqlstate, error.getSQLState());
            return error;
        }
        throw new AssertionError(sqlstate + " was expected");
    }

    private static PSQLException refused(Connection connection, String text) throws Exception {
        return fails("42501", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.execute(text);
            }
        });
    }

    private static void connects() throws Exception {
        try (Connection connection = connect()) {
            expect("1000", one(connection, "SELECT count(*) FROM orders"));
            String pid = String.valueOf(connection.unwrap(PGConnection.class).getBackendPID());
            expect(pid, one(connection, "SELECT pg_backend_pid()"));
        }
    }

    private static void readsTypes() throws Exception {
        // Binary from the fifth use on, and at once with a threshold of -1.
        for (String mode : List.of("prepareThreshold=5", "prepareThreshold=-1", "preferQueryMode=simple")) {
            try (Connection connection = connect(mode);
                    PreparedStatement statement = connection.prepareStatement("SELECT * FROM kinds WHERE id = ?")) {
                for (int use = 0; use < 7; use++) {
                    statement.setInt(1, 1);
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        expect(9007199254740993L, row.getLong("big"));
                        expect("naïve", row.getString("name"));
                        expect(255, row.getBytes("raw")[1] & 255);
                        expect("happy", row.getString("feeling"));
                        expect("two, three", ((String[]) row.getArray("tags").getArray())[1]);
                    }
                }
                refused(connection, REFUSED);
            }
        }
    }

    private static void writes() throws Exception {
        try (Connection connection = connect("reWriteBatchedInserts=true");
                PreparedStatement insert = connection.prepareStatement("INSERT INTO notes VALUES (?, ?)")) {
            for (int n = 0; n < 300; n++) {
                insert.setInt(1, n);
                insert.setString(2, "note " + n);
                insert.addBatch();
            }
            expect(300, insert.executeBatch().length);
            String changed = "UPDATE notes SET body = 'changed' WHERE id = 7 RETURNING body";
            expect("changed", one(connection, changed));
            try (Statement delete = connection.createStatement()) {
                expect(300, delete.executeUpdate("DELETE FROM notes"));
            }
        }
    }

    private static void refusal() throws Exception {
        try (Connection connection = connect()) {
            PSQLException error = refused(connection, REFUSED);
            expect("refused by policy: " + MISSING, error.getServerErrorMessage().getMessage());
            expect("no rule allows " + MISSING, error.getServerErrorMessage().getDetail());
            String hint = "add `" + MISSING + "` to an AccessPolicy for Connection `drivers/";
            expect(true, error.getServerErrorMessage().getHint().contains(hint));
            PSQLException drop = refused(connection, "SELECT 1; DROP TABLE orders /* refused */");
            expect(true, drop.getMessage().contains("ask the data team"));
            try (PreparedStatement bound =
                    connection.prepareStatement("SELECT ssn FROM customers WHERE id = ? /* refused */")) {
                bound.setInt(1, 1);
                fails("42501", bound::executeQuery);
            }
            expect("Ann", one(connection, "SELECT name FROM customers WHERE id = 1"));
        }
    }

    private static void batch() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.addBatch("INSERT INTO notes VALUES (1, 'one')");
            statement.addBatch("DELETE FROM orders /* refused */");
            statement.addBatch("INSERT INTO notes VALUES (2, 'two')");
            try {
                statement.executeBatch();
                throw new AssertionError("the refused statement went through");
            } catch (BatchUpdateException error) {
                expect("42501", error.getSQLState());
            }
            statement.execute("DELETE FROM notes");
            expect("1000", one(connection, "SELECT count(*) FROM orders"));
        }
    }

    private static void transactions() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.execute("INSERT INTO notes VALUES (1, 'kept')");
            var savepoint = connection.setSavepoint();
            refused(connection, REFUSED);
            fails("25P02", () -> statement.execute("SELECT 1"));
            connection.rollback(savepoint);
            expect("kept", one(connection, "SELECT body FROM notes"));
            connection.rollback();
            expect("0", one(connection, "SELECT count(*) FROM notes"));
            connection.commit();
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            connection.setReadOnly(true);
            expect("1000", one(connection, "SELECT count(*) FROM orders"));
            connection.commit();
        }
    }

    private static void autosave() throws Exception {
        try (Connection connection = connect("autosave=always"); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.execute("INSERT INTO notes VALUES (1, 'kept')");
            refused(connection, REFUSED);
            expect("kept", one(connection, "SELECT body FROM notes"));
            connection.rollback();
        }
    }

    private static void prepared() throws Exception {
        try (Connection connection = connect("prepareThreshold=1");
                PreparedStatement amount = connection.prepareStatement("SELECT amount FROM orders WHERE id = ?")) {
            amount.setInt(1, 4);
            for (int use = 0; use < 3; use++) {
                try (ResultSet rows = amount.executeQuery()) {
                    rows.next();
                    expect("6.0", rows.getString(1));
                }
            }
            policy("less");
            try {
                fails("42501", amount::executeQuery);
            } finally {
                policy("full");
            }
            expect(true, amount.executeQuery().next());
        }
    }

    private static void metadata() throws Exception {
        try (Connection connection = connect()) {
            List<String> tables = new ArrayList<>();
            try (ResultSet rows = connection.getMetaData().getTables(null, "public", "%", new String[] {"TABLE"})) {
                while (rows.next()) {
                    tables.add(rows.getString("TABLE_NAME"));
                }
            }
            expect(List.of("customers", "kinds", "notes", "orders"), tables);
            try (ResultSet rows = connection.getMetaData().getColumns(null, "public", "orders", "%")) {
                expect(true, rows.next());
            }
            try (ResultSet rows = connection.getMetaData().getPrimaryKeys(null, "public", "orders")) {
                rows.next();
                expect("id", rows.getString("COLUMN_NAME"));
            }
            expect(true, connection.getMetaData().getIndexInfo(null, "public", "orders", false, false).next());
            expect(true, connection.getMetaData().getTypeInfo().next());
            expect(true, connection.getMetaData().getSchemas().next());
            expect(true, connection.isValid(2));
        }
    }

    private static void copies() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            var copy = connection.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int n = 0; n < 5000; n++) {
                lines.append(n).append("\tnote ").append(n).append('\n');
            }
            byte[] bytes = lines.toString().getBytes(StandardCharsets.UTF_8);
            expect(5000L, copy.copyIn("COPY notes FROM STDIN", new ByteArrayInputStream(bytes)));
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            expect(5000L, copy.copyOut("COPY notes TO STDOUT (FORMAT csv)", out));
            fails("42501", () -> copy.copyOut("COPY customers TO STDOUT /* refused */", out));
            var in = new ByteArrayInputStream(bytes);
            fails("42501", () -> copy.copyIn("COPY orders FROM STDIN /* refused */", in));
            expect(5000, statement.executeUpdate("DELETE FROM notes"));
        }
    }

    private static void cancel() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            CompletableFuture.delayedExecutor(300, TimeUnit.MILLISECONDS).execute(() -> {
                try {
                    statement.cancel();
                } catch (SQLException error) {
                    throw new IllegalStateException(error);
                }
            });
            fails("57014", () -> statement.execute(ENDLESS));
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.execute(ENDLESS));
            expect("1", one(connection, "SELECT 1"));
        }
    }

    private static void large() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.setFetchSize(20000);
            int count = 0;
            try (ResultSet rows = statement.executeQuery(MANY)) {
                while (rows.next()) {
                    count++;
                }
            }
            expect(1_000_000, count);
        }
    }

    private static void tls() throws Exception {
        for (String how : List.of("sslmode=require", "sslmode=require&sslNegotiation=direct")) {
            try (Connection connection = connect(how)) {
                expect("1000", one(connection, "SELECT count(*) FROM orders"));
                refused(connection, REFUSED);
            }
        }
    }
}
