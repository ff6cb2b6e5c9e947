-- What every driver finds in its own database.
CREATE TABLE orders (id int PRIMARY KEY, customer text, amount numeric);
INSERT INTO orders SELECT n, 'c' || n, n * 1.5 FROM generate_series(1, 1000) n;
CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text);
INSERT INTO customers VALUES (1, 'Ann', '123-45-6789'), (2, 'Bob', '987-65-4321');
CREATE VIEW totals AS SELECT customer, sum(amount) AS total FROM orders GROUP BY customer;
CREATE TABLE notes (id int, body text);
-- Types that a driver has to look up in the catalog before it can read or write them.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE place AS (x int, y text);
CREATE TABLE kinds (
    id int PRIMARY KEY, flag boolean, small smallint, big bigint, ratio double precision, price numeric(12, 4),
    name varchar(20), raw bytea, day date, at timestamptz, span interval, mark uuid, doc jsonb, tags text[],
    feeling mood, count positive, spot place, ip inet, between int4range);
INSERT INTO kinds VALUES (
    1, true, -7, 9007199254740993, 0.5, 12345.6789, 'naïve', '\x00ff10', '2024-02-29', '2024-02-29 12:00:00+00',
    '1 day 02:00:00', '0190b8c2-0000-7000-8000-000000000001', '{"a": [1, null]}', '{one,"two, three",NULL}',
    'happy', 3, '(4,five)', '10.0.0.1/8', '[1,5)');
CREATE FUNCTION secret() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM customers LIMIT 1';
