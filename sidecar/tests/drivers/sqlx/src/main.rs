//! sqlx, unmodified.

use std::{env, error::Error, process::Command, time::Duration, time::Instant};

use futures_util::TryStreamExt;
use sqlx::{
    Connection, Executor, PgConnection, Postgres, Row, SqlSafeStr, Statement,
    postgres::{PgConnectOptions, PgDatabaseError, PgPoolCopyExt, PgPoolOptions, PgSslMode},
};

const REFUSED: &str = "SELECT name, ssn FROM customers /* refused */";
const MISSING: &str = "Select public.customers.ssn";
const ENDLESS: &str = "SELECT count(*) FROM orders a, orders b, orders c, orders d";
const MANY: &str = "SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n";

type Outcome = Result<(), Box<dyn Error>>;

macro_rules! checks {
    ($($name:ident),* $(,)?) => {{
        let mut failed = false;
        $(
            let begun = Instant::now();
            match tokio::time::timeout(Duration::from_secs(60), $name()).await {
                Ok(Ok(())) => println!("ok     {} ({} ms)", stringify!($name), begun.elapsed().as_millis()),
                Ok(Err(error)) => { failed = true; println!("FAILED {}: {error}", stringify!($name)); }
                Err(late) => { failed = true; println!("FAILED {}: {late}", stringify!($name)); }
            }
        )*
        failed
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let failed = checks![
        connects_without_a_password,
        reads_every_type_after_looking_it_up,
        writes_where_it_is_allowed,
        a_refusal_is_an_ordinary_error,
        transactions_are_the_servers_own,
        prepared_statements_are_decided_again_after_a_policy_change,
        many_statements_in_one_string,
        copies_both_ways,
        a_large_result_streams,
        a_cancelled_future_leaves_the_pool_whole,
        a_pool_survives_refusals,
        what_is_prepared_is_described,
    ];
    std::process::exit(i32::from(failed));
}

fn options() -> PgConnectOptions {
    PgConnectOptions::new().ssl_mode(PgSslMode::Disable)
}

async fn connect() -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(&options()).await
}

fn policy(name: &str) -> Outcome {
    let status = Command::new(env::var("CHAPERONE_POLICY")?).arg(name).status()?;
    if status.success() { Ok(()) } else { Err("the policy cannot be changed".into()) }
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}").into()) }
}

/// The refusal that an error is.
fn refusal<T>(result: Result<T, sqlx::Error>) -> Result<sqlx::Error, Box<dyn Error>> {
    match result {
        Ok(_) => Err("it went through".into()),
        Err(error) => {
            expect(error.as_database_error().and_then(|e| e.code()).as_deref(), Some("42501"))
                .map_err(|_| error.to_string())?;
            Ok(error)
        }
    }
}

async fn connects_without_a_password() -> Outcome {
    let mut connection = connect().await?;
    expect(
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM orders").fetch_one(&mut connection).await?,
        1000,
    )?;
    connection.close().await?;
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Mood(String);

impl sqlx::Type<Postgres> for Mood {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        sqlx::postgres::PgTypeInfo::with_name("mood")
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for Mood {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(Self(<&str as sqlx::Decode<Postgres>>::decode(value)?.to_owned()))
    }
}

impl sqlx::Encode<'_, Postgres> for Mood {
    fn encode_by_ref(
        &self,
        buffer: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        <&str as sqlx::Encode<Postgres>>::encode(self.0.as_str(), buffer)
    }
}

async fn reads_every_type_after_looking_it_up() -> Outcome {
    let mut connection = connect().await?;
    let row = sqlx::query("SELECT big, raw, tags, feeling, spot FROM kinds WHERE feeling = $1")
        .bind(Mood("happy".into()))
        .fetch_one(&mut connection)
        .await?;
    expect(row.try_get::<i64, _>("big")?, 9_007_199_254_740_993)?;
    expect(row.try_get::<Vec<u8>, _>("raw")?, vec![0, 255, 16])?;
    expect(row.try_get::<Vec<Option<String>>, _>("tags")?.len(), 3)?;
    expect(row.try_get::<Mood, _>("feeling")?, Mood("happy".into()))
}

async fn writes_where_it_is_allowed() -> Outcome {
    let mut connection = connect().await?;
    for n in 0..50 {
        let insert = sqlx::query("INSERT INTO notes VALUES ($1, $2)").bind(n).bind(format!("note {n}"));
        insert.execute(&mut connection).await?;
    }
    let changed: String = sqlx::query_scalar("UPDATE notes SET body = $1 WHERE id = 7 RETURNING body")
        .bind("changed")
        .fetch_one(&mut connection)
        .await?;
    expect(changed.as_str(), "changed")?;
    expect(sqlx::query("DELETE FROM notes").execute(&mut connection).await?.rows_affected(), 50)
}

async fn a_refusal_is_an_ordinary_error() -> Outcome {
    let mut connection = connect().await?;
    let error = refusal(sqlx::query(REFUSED).fetch_all(&mut connection).await)?;
    let error = error.as_database_error().ok_or("no error of the database")?;
    let error = error.downcast_ref::<PgDatabaseError>();
    expect(error.message(), format!("refused by policy: {MISSING}").as_str())?;
    expect(error.detail(), Some(format!("no rule allows {MISSING}").as_str()))?;
    let hint = format!("add `{MISSING}` to an AccessPolicy for Connection `drivers/");
    expect(error.hint().is_some_and(|found| found.contains(&hint)), true)?;
    let drop = refusal(connection.execute("DROP TABLE orders /* refused */").await)?;
    expect(drop.to_string().contains("ask the data team"), true)?;
    let bound = sqlx::query("SELECT ssn FROM customers WHERE id = $1 /* refused */").bind(1);
    refusal(bound.fetch_all(&mut connection).await)?;
    let name: String =
        sqlx::query_scalar("SELECT name FROM customers WHERE id = 1").fetch_one(&mut connection).await?;
    expect(name.as_str(), "Ann")
}

async fn transactions_are_the_servers_own() -> Outcome {
    let mut connection = connect().await?;
    let mut outer = connection.begin().await?;
    sqlx::query("INSERT INTO notes VALUES (1, 'kept')").execute(&mut *outer).await?;
    let mut inner = outer.begin().await?;
    refusal(sqlx::query(REFUSED).fetch_all(&mut *inner).await)?;
    let aborted = sqlx::query("SELECT 1").fetch_all(&mut *inner).await.err().ok_or("25P02 was expected")?;
    expect(aborted.as_database_error().and_then(|e| e.code()).as_deref(), Some("25P02"))?;
    inner.rollback().await?;
    let body: String = sqlx::query_scalar("SELECT body FROM notes").fetch_one(&mut *outer).await?;
    expect(body.as_str(), "kept")?;
    // Dropped without a word: the driver rolls back before the next use.
    drop(outer);
    expect(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM notes").fetch_one(&mut connection).await?, 0)
}

async fn prepared_statements_are_decided_again_after_a_policy_change() -> Outcome {
    let mut connection = connect().await?;
    let amount = || sqlx::query_scalar::<_, f64>("SELECT amount::float8 FROM orders WHERE id = $1").bind(4);
    expect(amount().fetch_one(&mut connection).await?, 6.0)?;
    policy("less")?;
    let after = amount().fetch_one(&mut connection).await;
    policy("full")?;
    refusal(after)?;
    expect(amount().fetch_one(&mut connection).await?, 6.0)
}

async fn many_statements_in_one_string() -> Outcome {
    let mut connection = connect().await?;
    let text = "INSERT INTO notes VALUES (1, 'a'); INSERT INTO notes VALUES (2, 'b'); DELETE FROM notes";
    let done = sqlx::raw_sql(text).execute_many(&mut connection).try_collect::<Vec<_>>().await?;
    expect(done.len(), 3)?;
    refusal(
        sqlx::raw_sql("INSERT INTO notes VALUES (1, 'a'); DROP TABLE notes /* refused */")
            .execute(&mut connection)
            .await,
    )?;
    expect(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM notes").fetch_one(&mut connection).await?, 0)
}

async fn copies_both_ways() -> Outcome {
    let pool = PgPoolOptions::new().max_connections(2).connect_with(options()).await?;
    let mut copy = pool.copy_in_raw("COPY notes FROM STDIN").await?;
    for n in 0..500 {
        copy.send(format!("{n}\tnote {n}\n").into_bytes()).await?;
    }
    expect(copy.finish().await?, 500)?;
    let out = pool.copy_out_raw("COPY notes TO STDOUT").await?.try_collect::<Vec<_>>().await?;
    expect(out.iter().flat_map(|part| part.iter()).filter(|byte| **byte == b'\n').count(), 500)?;
    refusal(pool.copy_in_raw("COPY orders FROM STDIN /* refused */").await.map(|_| ()))?;
    let unread = match pool.copy_out_raw("COPY customers TO STDOUT /* refused */").await {
        Ok(stream) => stream.try_collect::<Vec<_>>().await.map(|_| ()),
        Err(error) => Err(error),
    };
    refusal(unread)?;
    expect(sqlx::query("DELETE FROM notes").execute(&pool).await?.rows_affected(), 500)
}

async fn a_large_result_streams() -> Outcome {
    let mut connection = connect().await?;
    let rows = sqlx::query(MANY).fetch(&mut connection).try_fold(0, |count, _| async move { Ok(count + 1) });
    expect(rows.await?, 1_000_000)
}

async fn a_cancelled_future_leaves_the_pool_whole() -> Outcome {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options()).await?;
    sqlx::query("SET statement_timeout = 500").execute(&pool).await?;
    let endless = sqlx::query(ENDLESS).fetch_all(&pool);
    let late = tokio::time::timeout(Duration::from_millis(100), endless).await;
    expect(late.is_err(), true)?;
    expect(sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&pool).await?, 1)
}

async fn a_pool_survives_refusals() -> Outcome {
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options()).await?;
    let uses = (0..60).map(|n| {
        let pool = pool.clone();
        async move {
            if n % 2 == 1 {
                refusal(sqlx::query(REFUSED).fetch_all(&pool).await).map_err(|error| error.to_string())?;
            }
            let pid = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(&pool).await;
            pid.map_err(|error| error.to_string())
        }
    });
    let pids = futures_util::future::try_join_all(uses).await?;
    let distinct: std::collections::BTreeSet<i32> = pids.into_iter().collect();
    expect(distinct.len() <= 4, true)
}

async fn what_is_prepared_is_described() -> Outcome {
    let mut connection = connect().await?;
    let known = connection.prepare("SELECT id, name FROM customers WHERE id = $1".into_sql_str()).await?;
    expect(known.columns().len(), 2)?;
    refusal(connection.prepare("SELECT ssn FROM customers /* refused */".into_sql_str()).await)?;
    Ok(())
}
