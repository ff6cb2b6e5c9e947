CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, amount numeric NOT NULL, status text NOT NULL DEFAULT 'new');
INSERT INTO orders SELECT n, 'customer ' || n % 17, n * 1.5 FROM generate_series(1, 1000) n;
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, ssn text NOT NULL);
INSERT INTO customers VALUES (1, 'Ann', '123-45-6789'), (2, 'Bob', '987-65-4321');
CREATE VIEW totals AS SELECT customer, sum(amount) AS total FROM orders GROUP BY customer;
