CREATE TABLE cart_items (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cart text NOT NULL,
  sku text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  cents integer NOT NULL,
  note text NOT NULL,
  order_id bigint
);

CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cart text NOT NULL,
  email text NOT NULL,
  cents integer NOT NULL,
  status text NOT NULL,
  charge text,
  note text NOT NULL
);
