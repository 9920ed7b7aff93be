-- break: a function that binds the tenant for the session and not the transaction: the next request on the connection inherits it
-- object: public.begin_request(uuid, uuid)
-- kind: context

CREATE FUNCTION public.begin_request(tenant uuid, person uuid) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT set_config('app.tenant_id', tenant::text, false), set_config('app.user_id', person::text, false) $$;

ALTER FUNCTION public.begin_request(uuid, uuid) OWNER TO tenantproof_owner;
REVOKE ALL ON FUNCTION public.begin_request(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.begin_request(uuid, uuid) TO tenantproof_member, tenantproof_admin;
