-- break: a write policy that is WITH CHECK (true): documents can be planted in any tenant
-- object: public.documents
-- kind: breach

ALTER POLICY member_insert ON public.documents WITH CHECK (true);
