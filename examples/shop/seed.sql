-- A few things to sell and two people to buy them. Run once, at the home of the tables.
INSERT INTO shop.products (name, price_cents) VALUES
    ('Compass', 2400), ('Sextant', 18900), ('Sea chart', 1250), ('Lantern', 3600),
    ('Rope, 50 m', 4100), ('Telescope', 22500);

INSERT INTO shop.accounts (id, name, balance_cents) VALUES
    ('00000000-0000-4000-8000-000000000001', 'Ada', 100000),
    ('00000000-0000-4000-8000-000000000002', 'Grace', 250000);
