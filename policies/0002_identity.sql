-- Who is asking: the tenant and the user of this transaction.
--
-- Identity is said once a transaction, in one of two ways:
--
--   plain settings   app.tenant_id, app.user_id
--   verified claims  request.jwt.claims, the JSON of a token the API has checked:
--                    {"sub": "<user>", "app_metadata": {"tenant_id": "<tenant>"}}
--
-- One function a question, and nothing else reads the settings. The answer is NULL, which every policy takes
-- as a refusal, where nothing is said, where what is said is not a uuid, and where both ways are used and do
-- not agree. '' counts as nothing: it is what a setting reads as after the transaction that set it. It is
-- never an error, for an error in a policy is an outage, and never a default.
--
-- The tenant is read from app_metadata, which only the server writes, never from user_metadata.
--
-- STABLE, not IMMUTABLE: an immutable function's result is frozen into cached plans, and the next tenant on
-- the connection would get the previous tenant's rows. Parallel unsafe (the default), because of the
-- exception block; policies call it in a scalar subquery, once a statement.

SET ROLE tenantproof_owner;

CREATE FUNCTION public.identity_uuid(setting text, VARIADIC claim text[]) RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  form constant text := '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$';
  plain text := nullif(current_setting(setting, true), '');
  claims text := nullif(current_setting('request.jwt.claims', true), '');
  claimed text;
BEGIN
  IF claims IS NOT NULL THEN
    claimed := claims::jsonb #>> claim;
    -- Claims that are there but name nobody do not fall back to the plain setting.
    IF claimed IS NULL OR claimed !~ form THEN
      RETURN NULL;
    END IF;
  END IF;
  IF plain !~ form OR plain::uuid <> claimed::uuid THEN
    RETURN NULL;
  END IF;
  RETURN coalesce(claimed, plain)::uuid;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$$;

-- In PL/pgSQL and not SQL, as all helpers that policies ask: the session keeps its plan, where a SQL function that cannot be
-- inlined is parsed and planned anew in every statement.
CREATE FUNCTION public.current_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT public.identity_uuid('app.tenant_id', 'app_metadata', 'tenant_id')
  );
END
$$;

CREATE FUNCTION public.current_user_id() RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT public.identity_uuid('app.user_id', 'sub')
  );
END
$$;

REVOKE ALL ON FUNCTION public.identity_uuid(text, text[]), public.current_tenant_id(), public.current_user_id() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.identity_uuid(text, text[]), public.current_tenant_id(), public.current_user_id()
  TO tenantproof_member, tenantproof_admin, tenantproof_service;

-- For every table that has the column.
CREATE FUNCTION public.touch_updated_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION public.touch_updated_at() FROM PUBLIC;

RESET ROLE;
