// pgx, unmodified.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	refusedText = "SELECT name, ssn FROM customers /* refused */"
	missing     = "Select public.customers.ssn"
	endless     = "SELECT count(*) FROM orders a, orders b, orders c, orders d"
	many        = "SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n"
)

type check struct {
	name string
	run  func(context.Context, *pgx.Conn) error
}

var checks = []check{
	{"connects_without_a_password", connects},
	{"reads_every_type_in_every_mode", readsTypes},
	{"writes_where_it_is_allowed", writes},
	{"a_refusal_is_an_ordinary_error", refusal},
	{"transactions_are_the_servers_own", transactions},
	{"prepared_statements_are_decided_again_after_a_policy_change", prepared},
	{"a_batch_aborts_as_the_server_says", batch},
	{"a_pipeline_is_answered_in_order", pipeline},
	{"copies_both_ways", copies},
	{"a_cancel_arrives", cancel},
	{"a_large_result_streams", large},
	{"a_pool_survives_refusals", pool},
	{"tls_is_spoken_where_it_is_asked_for", tls},
}

func main() {
	failed := 0
	for _, c := range checks {
		begun := time.Now()
		if err := once(c); err != nil {
			failed++
			fmt.Printf("FAILED %s: %v\n", c.name, err)
			continue
		}
		fmt.Printf("ok     %s (%d ms)\n", c.name, time.Since(begun).Milliseconds())
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func once(c check) error {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	conn, err := pgx.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return c.run(ctx, conn)
}

func must(condition bool, format string, values ...any) error {
	if condition {
		return nil
	}
	return fmt.Errorf(format, values...)
}

func policy(name string) error { return exec.Command(os.Getenv("CHAPERONE_POLICY"), name).Run() }

// The refusal that an error is; an error of its own when it is none.
func asRefusal(err error) (*pgconn.PgError, error) {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Code != "42501" {
		return nil, fmt.Errorf("no refusal: %v", err)
	}
	return refusal, nil
}

func refused(ctx context.Context, conn *pgx.Conn, text string, values ...any) (*pgconn.PgError, error) {
	_, err := conn.Exec(ctx, text, values...)
	return asRefusal(err)
}

func one[T any](ctx context.Context, conn *pgx.Conn, text string, values ...any) (found T, err error) {
	err = conn.QueryRow(ctx, text, values...).Scan(&found)
	return found, err
}

func expect[T comparable](ctx context.Context, conn *pgx.Conn, wanted T, text string, values ...any) error {
	found, err := one[T](ctx, conn, text, values...)
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return must(found == wanted, "%s: %v instead of %v", text, found, wanted)
}

func connects(ctx context.Context, conn *pgx.Conn) error {
	if err := expect(ctx, conn, 1000, "SELECT count(*) FROM orders"); err != nil {
		return err
	}
	return expect(ctx, conn, int(conn.PgConn().PID()), "SELECT pg_backend_pid()")
}

func readsTypes(ctx context.Context, conn *pgx.Conn) error {
	for _, name := range []string{"mood", "place"} {
		loaded, err := conn.LoadType(ctx, name)
		if err != nil {
			return err
		}
		conn.TypeMap().RegisterType(loaded)
	}
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		var big int64
		var raw []byte
		var tags []*string
		var feeling string
		var at time.Time
		row := conn.QueryRow(ctx, "SELECT big, raw, tags, feeling, at FROM kinds WHERE id = $1", mode, 1)
		if err := row.Scan(&big, &raw, &tags, &feeling, &at); err != nil {
			return fmt.Errorf("mode %v: %w", mode, err)
		}
		good := big == 9007199254740993 && bytes.Equal(raw, []byte{0, 255, 16}) && len(tags) == 3 && feeling == "happy"
		if err := must(good && at.UTC().Hour() == 12, "mode %v: %v %v %v %v", mode, big, raw, tags, feeling); err != nil {
			return err
		}
		if _, err := refused(ctx, conn, "SELECT ssn FROM customers WHERE id = $1 /* refused */", mode, 1); err != nil {
			return fmt.Errorf("mode %v: %w", mode, err)
		}
	}
	return nil
}

func writes(ctx context.Context, conn *pgx.Conn) error {
	for n := range 50 {
		if _, err := conn.Exec(ctx, "INSERT INTO notes VALUES ($1, $2)", n, fmt.Sprint("note ", n)); err != nil {
			return err
		}
	}
	if err := expect(ctx, conn, "changed", "UPDATE notes SET body = $1 WHERE id = $2 RETURNING body", "changed", 7); err != nil {
		return err
	}
	tag, err := conn.Exec(ctx, "DELETE FROM notes")
	if err != nil {
		return err
	}
	return must(tag.RowsAffected() == 50, "%v", tag)
}

func refusal(ctx context.Context, conn *pgx.Conn) error {
	found, err := refused(ctx, conn, refusedText)
	if err != nil {
		return err
	}
	hint := "add `" + missing + "` to an AccessPolicy for Connection `drivers/"
	good := found.Message == "refused by policy: "+missing && found.Detail == "no rule allows "+missing
	if err := must(good && strings.Contains(found.Hint, hint), "%+v", found); err != nil {
		return err
	}
	drop, err := refused(ctx, conn, "DROP TABLE orders /* refused */")
	if err != nil {
		return err
	}
	if err := must(strings.Contains(drop.Message, "ask the data team"), "%s", drop.Message); err != nil {
		return err
	}
	return expect(ctx, conn, "Ann", "SELECT name FROM customers WHERE id = 1")
}

func transactions(ctx context.Context, conn *pgx.Conn) error {
	outer, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := outer.Exec(ctx, "INSERT INTO notes VALUES (1, 'kept')"); err != nil {
		return err
	}
	inner, err := outer.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := refused(ctx, conn, refusedText); err != nil {
		return err
	}
	var aborted *pgconn.PgError
	_, err = inner.Exec(ctx, "SELECT 1")
	if !errors.As(err, &aborted) || aborted.Code != "25P02" || conn.PgConn().TxStatus() != 'E' {
		return fmt.Errorf("25P02 was expected: %v", err)
	}
	if err := inner.Rollback(ctx); err != nil {
		return err
	}
	if err := expect(ctx, conn, "kept", "SELECT body FROM notes"); err != nil {
		return err
	}
	if err := outer.Rollback(ctx); err != nil {
		return err
	}
	return expect(ctx, conn, 0, "SELECT count(*) FROM notes")
}

func prepared(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Prepare(ctx, "amount", "SELECT amount::float8 FROM orders WHERE id = $1"); err != nil {
		return err
	}
	if err := expect(ctx, conn, 6.0, "amount", 4); err != nil {
		return err
	}
	if err := policy("less"); err != nil {
		return err
	}
	_, err := refused(ctx, conn, "amount", 4)
	if again := policy("full"); again != nil || err != nil {
		return errors.Join(again, err)
	}
	return expect(ctx, conn, 6.0, "amount", 4)
}

func batch(ctx context.Context, conn *pgx.Conn) error {
	texts := []string{"SELECT 1", "SELECT ssn FROM customers /* refused */", "SELECT 2"}
	queue := func() *pgx.Batch {
		batch := &pgx.Batch{}
		for _, text := range texts {
			batch.Queue(text)
		}
		return batch
	}
	// Described first, in a pipeline of its own: the refusal comes before anything runs.
	if _, err := asRefusal(conn.SendBatch(ctx, queue()).Close()); err != nil {
		return err
	}
	config := conn.Config()
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	results := conn.SendBatch(ctx, queue())
	var first int
	if err := results.QueryRow().Scan(&first); err != nil {
		return err
	}
	if _, err := results.Exec(); err == nil {
		return errors.New("the refused statement went through")
	}
	if _, err := asRefusal(results.Close()); err != nil {
		return err
	}
	return expect(ctx, conn, 3, "SELECT 3")
}

func pipeline(ctx context.Context, conn *pgx.Conn) error {
	pipeline := conn.PgConn().StartPipeline(ctx)
	for n := range 200 {
		text := "SELECT $1::text"
		if n%10 == 3 {
			text = "SELECT ssn FROM customers WHERE name = $1 /* refused */"
		}
		pipeline.SendQueryParams(text, [][]byte{[]byte(fmt.Sprint(n))}, nil, nil, nil)
		if err := pipeline.Sync(); err != nil {
			return err
		}
	}
	for n := range 200 {
		results, err := pipeline.GetResults()
		if n%10 == 3 {
			if _, err := asRefusal(err); err != nil {
				return err
			}
		} else {
			reader, ok := results.(*pgconn.ResultReader)
			if !ok {
				return fmt.Errorf("%d: %T %v", n, results, err)
			}
			read := reader.Read()
			if read.Err != nil || string(read.Rows[0][0]) != fmt.Sprint(n) {
				return fmt.Errorf("%d: %v %v", n, read.Rows, read.Err)
			}
		}
		if results, err := pipeline.GetResults(); err != nil {
			return fmt.Errorf("%d: %T %w", n, results, err)
		}
	}
	return pipeline.Close()
}

func copies(ctx context.Context, conn *pgx.Conn) error {
	rows := pgx.CopyFromSlice(5000, func(n int) ([]any, error) { return []any{n, fmt.Sprint("note ", n)}, nil })
	count, err := conn.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"id", "body"}, rows)
	if err != nil {
		return err
	}
	if err := must(count == 5000, "%d rows", count); err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(ctx, &out, "COPY notes TO STDOUT"); err != nil {
		return err
	}
	if err := must(bytes.Count(out.Bytes(), []byte("\n")) == 5000, "%d bytes", out.Len()); err != nil {
		return err
	}
	_, err = conn.PgConn().CopyTo(ctx, &out, "COPY customers TO STDOUT /* refused */")
	if _, err := asRefusal(err); err != nil {
		return err
	}
	_, err = conn.PgConn().CopyFrom(ctx, strings.NewReader("1\tx\t1\n"), "COPY orders FROM STDIN /* refused */")
	if _, err := asRefusal(err); err != nil {
		return err
	}
	tag, err := conn.Exec(ctx, "DELETE FROM notes")
	if err != nil {
		return err
	}
	return must(tag.RowsAffected() == 5000, "%v", tag)
}

func cancel(ctx context.Context, conn *pgx.Conn) error {
	time.AfterFunc(300*time.Millisecond, func() { _ = conn.PgConn().CancelRequest(ctx) })
	_, err := conn.Exec(ctx, endless)
	var cancelled *pgconn.PgError
	if !errors.As(err, &cancelled) || cancelled.Code != "57014" {
		return fmt.Errorf("it was not cancelled: %v", err)
	}
	return expect(ctx, conn, 1, "SELECT 1")
}

func large(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, many)
	if err != nil {
		return err
	}
	count := 0
	for rows.Next() {
		count++
	}
	return errors.Join(rows.Err(), must(count == 1_000_000, "%d rows", count))
}

func pool(ctx context.Context, _ *pgx.Conn) error {
	pool, err := pgxpool.New(ctx, "pool_max_conns=4")
	if err != nil {
		return err
	}
	defer pool.Close()
	problems := make(chan error, 120)
	var all sync.WaitGroup
	for n := range 60 {
		all.Go(func() {
			if n%2 == 1 {
				if _, err := pool.Exec(ctx, refusedText); err != nil {
					_, err = asRefusal(err)
					problems <- err
				}
			}
			_, err := pool.Exec(ctx, "SELECT 1")
			problems <- err
		})
	}
	all.Wait()
	close(problems)
	for problem := range problems {
		err = errors.Join(err, problem)
	}
	created := pool.Stat().NewConnsCount()
	return errors.Join(err, must(created <= 4, "%d connections were made", created))
}

func tls(ctx context.Context, _ *pgx.Conn) error {
	for _, how := range []string{"sslmode=require", "sslmode=require sslnegotiation=direct"} {
		conn, err := pgx.Connect(ctx, how)
		if err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
		err = expect(ctx, conn, 1000, "SELECT count(*) FROM orders")
		_, refusal := refused(ctx, conn, refusedText)
		if err := errors.Join(err, refusal, conn.Close(ctx)); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
	}
	return nil
}
