-- A few things to sell and two people to buy them, for a shop that has none. Run at the home of
-- the tables.
INSERT INTO shop.products (name, price_cents)
SELECT * FROM (VALUES
    ('Compass', 2400), ('Sextant', 18900), ('Sea chart', 1250), ('Lantern', 3600),
    ('Rope, 50 m', 4100), ('Telescope', 22500)) AS wares (name, price_cents)
WHERE NOT EXISTS (SELECT FROM shop.products);

INSERT INTO shop.accounts (id, name, balance_cents) VALUES
    ('00000000-0000-4000-8000-000000000001', 'Ada', 100000),
    ('00000000-0000-4000-8000-000000000002', 'Grace', 250000)
ON CONFLICT (id) DO NOTHING;
