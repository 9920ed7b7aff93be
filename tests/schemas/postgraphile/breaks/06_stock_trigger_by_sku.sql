-- break: the stock trigger finds the product by SKU alone and books into every practice that has the SKU
-- object: app_private.tg__stock_movements__apply()
-- kind: breach
-- Rewritten to keep controlled drugs from going negative.
set role app_database_owner;
create or replace function app_private.tg__stock_movements__apply() returns trigger as $$
begin
  update app_public.products
     set quantity_on_hand = case when is_controlled then greatest(quantity_on_hand + new.quantity, 0)
                                 else quantity_on_hand + new.quantity end
   where sku = new.sku;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
reset role;
