-- break: row security no longer forced on a table that the request role owns, which exempts it
-- object: public.document_chunks
-- kind: leak

ALTER TABLE public.document_chunks OWNER TO tenantproof_member;
ALTER TABLE public.document_chunks NO FORCE ROW LEVEL SECURITY;
