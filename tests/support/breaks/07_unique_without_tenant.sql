-- break: a unique key without the tenant on a name that sessions choose: a refusal tells that another tenant has it
-- object: public.documents
-- kind: reveal

ALTER TABLE public.documents DROP CONSTRAINT documents_tenant_id_slug_key;
ALTER TABLE public.documents ADD CONSTRAINT documents_slug_key UNIQUE (slug);
