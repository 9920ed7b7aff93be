-- break: a definer function recreated by a superuser without the check of its caller
-- object: public.tenant_seats(uuid)
-- kind: leak

CREATE OR REPLACE FUNCTION public.tenant_seats(tenant uuid) RETURNS TABLE (members bigint, open_invitations bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT
    (SELECT count(*) FROM public.memberships AS m WHERE m.tenant_id = tenant AND m.status = 'active'),
    (SELECT count(*) FROM public.invitations AS i
     WHERE i.tenant_id = tenant AND i.accepted_at IS NULL AND i.expires_at > now())
$$;
-- The owner's policies would still confine it; whom it runs as now, they do not.
ALTER FUNCTION public.tenant_seats(uuid) OWNER TO CURRENT_USER;
