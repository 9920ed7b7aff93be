-- break: The rewritten stock trigger looks the level up by warehouse and SKU, without the company
-- object: inventory.apply_stock_movement()
-- kind: breach

SET ROLE erp_owner;

-- The upsert burned an index tuple a movement; nearly always the level is there already.
CREATE OR REPLACE FUNCTION inventory.apply_stock_movement() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE inventory.stock_level AS l
     SET on_hand = l.on_hand + NEW.quantity, last_moved_at = greatest(l.last_moved_at, NEW.moved_at)
   WHERE l.warehouse_code = NEW.warehouse_code AND l.sku = NEW.sku;
  IF NOT FOUND THEN
    INSERT INTO inventory.stock_level (company_id, warehouse_code, sku, on_hand, last_moved_at)
    VALUES (NEW.company_id, NEW.warehouse_code, NEW.sku, NEW.quantity, NEW.moved_at);
  END IF;
  RETURN NULL;
END
$$;

RESET ROLE;
