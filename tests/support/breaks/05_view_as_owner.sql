-- break: a view that lost security_invoker and reads as a superuser
-- object: public.tenant_members
-- kind: leak

ALTER VIEW public.tenant_members RESET (security_invoker);
ALTER VIEW public.tenant_members OWNER TO CURRENT_USER;
