-- Views, and a summary that says more than its caller may read.
--
-- A view reads its tables as its owner unless it is a security_invoker view. Every view here is one, so it shows
-- what the caller's own policies show. CREATE OR REPLACE VIEW without the option takes it away again.

SET ROLE tenantproof_owner;

-- One row a key: the nearest value among the tenant and those it inherits from, and where it is from. A locked key is
-- decided no nearer than its lock: of the farthest tenant that locked it and has or inherits a value, what holds
-- there. A lock without any value at or behind it leaves nearer values in place. A tenant's own locks bind its heirs only.
CREATE VIEW public.effective_configurations WITH (security_invoker = true, security_barrier = true) AS
  WITH candidate AS (
    SELECT c.key, c.value_type, c.value, c.version, c.tenant_id, b.depth, max(b.depth) OVER (PARTITION BY c.key) AS farthest
    FROM public.tenant_bases AS b
    JOIN public.tenant_configurations AS c ON c.tenant_id = b.ancestor_id
  ), lock AS (
    SELECT l.key, b.depth
    FROM public.tenant_bases AS b
    JOIN public.configuration_locks AS l ON l.tenant_id = b.ancestor_id
    WHERE b.depth > 0
  )
  SELECT DISTINCT ON (c.key)
    c.key, c.value_type, c.value, c.tenant_id AS origin_tenant_id,
    CASE WHEN c.depth = 0 THEN 'own' ELSE 'base' END AS origin,
    l.locked, c.depth, c.version
  FROM candidate AS c
  LEFT JOIN LATERAL (
    SELECT max(l.depth) FILTER (WHERE l.depth <= c.farthest) AS depth, count(*) > 0 AS locked FROM lock AS l WHERE l.key = c.key
  ) AS l ON true
  WHERE c.depth >= coalesce(l.depth, 0)
  ORDER BY c.key, c.depth;

CREATE VIEW public.tenant_members WITH (security_invoker = true, security_barrier = true) AS
  SELECT m.tenant_id, m.user_id, m.display_name, m.role, m.created_at AS member_since
  FROM public.memberships AS m
  WHERE m.status = 'active';

CREATE VIEW public.document_overview WITH (security_invoker = true, security_barrier = true) AS
  SELECT d.tenant_id, d.id, d.slug, d.title, d.tenant_id <> public.member_tenant_id() AS shared_with_us,
    count(c.ordinal) AS chunks, count(c.embedding) AS embedded_chunks
  FROM public.documents AS d
  LEFT JOIN public.document_chunks AS c ON c.tenant_id = d.tenant_id AND c.document_id = d.id
  GROUP BY d.tenant_id, d.id, d.slug, d.title;

CREATE VIEW public.usage_by_month WITH (security_invoker = true, security_barrier = true) AS
  SELECT u.tenant_id, u.metric, date_trunc('month', u.day)::date AS month, sum(u.quantity) AS quantity
  FROM public.usage_metrics AS u
  GROUP BY u.tenant_id, u.metric, date_trunc('month', u.day)::date;

GRANT SELECT ON public.effective_configurations, public.tenant_members, public.document_overview, public.usage_by_month
  TO tenantproof_member, tenantproof_admin;
GRANT SELECT ON public.effective_configurations TO tenantproof_service;

-- How many seats a tenant uses. Invitations are for administrators to read, their number is for every member:
-- hence a definer. It takes the tenant from its caller and answers for the caller's own only: another tenant's
-- key, a key that is nobody's, and NULL all give no row.
CREATE FUNCTION public.tenant_seats(tenant uuid) RETURNS TABLE (members bigint, open_invitations bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT
    (SELECT count(*) FROM public.memberships AS m WHERE m.tenant_id = tenant AND m.status = 'active'),
    (SELECT count(*) FROM public.invitations AS i
     WHERE i.tenant_id = tenant AND i.accepted_at IS NULL AND i.expires_at > now())
  WHERE tenant = public.member_tenant_id()
$$;

REVOKE ALL ON FUNCTION public.tenant_seats(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.tenant_seats(uuid) TO tenantproof_member, tenantproof_admin;

RESET ROLE;
