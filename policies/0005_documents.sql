-- Documents, and the chunks they are searched by.
--
-- Every key has the tenant in it: the primary key, the natural key, and the references. Constraints are checked
-- without row security, so a key without the tenant tells a tenant which values another one uses, and a
-- reference without it lets a tenant hang rows on another one's.

SET ROLE tenantproof_owner;

CREATE TABLE public.documents (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  slug text NOT NULL CHECK (slug <> ''),
  title text NOT NULL,
  body text NOT NULL DEFAULT '',
  metadata jsonb NOT NULL DEFAULT '{}',
  created_by uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, slug),
  -- Only created_by is set to NULL when the member leaves; the tenant stays.
  FOREIGN KEY (tenant_id, created_by) REFERENCES public.memberships (tenant_id, user_id) ON DELETE SET NULL (created_by)
);
CREATE INDEX documents_created_by ON public.documents (tenant_id, created_by);

CREATE TABLE public.document_chunks (
  tenant_id uuid NOT NULL,
  document_id uuid NOT NULL,
  ordinal integer NOT NULL CHECK (ordinal >= 0),
  content text NOT NULL,
  embedding real[],
  -- Without a language, so that no tenant's text is read by the rules of another one's.
  words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('simple', content)) STORED,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, document_id, ordinal),
  FOREIGN KEY (tenant_id, document_id) REFERENCES public.documents (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TRIGGER touch BEFORE UPDATE ON public.documents FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON public.document_chunks FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

ALTER TABLE public.documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.documents FORCE ROW LEVEL SECURITY;
ALTER TABLE public.document_chunks ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.document_chunks FORCE ROW LEVEL SECURITY;

-- SELECT, INSERT, UPDATE and DELETE, and not ALL: TRUNCATE passes row security by, REFERENCES and TRIGGER let a
-- role watch rows that it cannot read.
GRANT SELECT, INSERT, UPDATE, DELETE ON public.documents, public.document_chunks
  TO tenantproof_member, tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.documents FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_insert ON public.documents FOR INSERT TO tenantproof_member, tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_update ON public.documents FOR UPDATE TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_delete ON public.documents FOR DELETE TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.documents FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.documents FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.documents FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.documents FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

CREATE POLICY member_select ON public.document_chunks FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_insert ON public.document_chunks FOR INSERT TO tenantproof_member, tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_update ON public.document_chunks FOR UPDATE TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_delete ON public.document_chunks FOR DELETE TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.document_chunks FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.document_chunks FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.document_chunks FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.document_chunks FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

-- Exact search. The distance looks at nothing but its arguments, so it may be IMMUTABLE; NULL where the vectors
-- cannot be compared.
CREATE FUNCTION public.cosine_distance(a real[], b real[]) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN cardinality(a) = cardinality(b) THEN
    1 - sum(x::float8 * y::float8) / nullif(sqrt(sum(x::float8 * x::float8)) * sqrt(sum(y::float8 * y::float8)), 0) END
  FROM unnest(a, b) AS pair (x, y)
$$;

-- Runs as the caller, so the policies are its only filter. A definer with `WHERE tenant_id = ...` would be one
-- forgotten condition away from searching everybody.
CREATE FUNCTION public.search_chunks(query real[], max_results integer DEFAULT 10)
RETURNS TABLE (tenant_id uuid, document_id uuid, ordinal integer, content text, distance double precision)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.tenant_id, c.document_id, c.ordinal, c.content, d.distance
  FROM public.document_chunks AS c
  CROSS JOIN LATERAL (SELECT public.cosine_distance(c.embedding, query) AS distance) AS d
  WHERE d.distance IS NOT NULL
  ORDER BY d.distance, c.tenant_id, c.document_id, c.ordinal
  LIMIT least(greatest(max_results, 0), 100)
$$;

REVOKE ALL ON FUNCTION public.cosine_distance(real[], real[]), public.search_chunks(real[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.cosine_distance(real[], real[]), public.search_chunks(real[], integer)
  TO tenantproof_member, tenantproof_admin, tenantproof_service;

RESET ROLE;
