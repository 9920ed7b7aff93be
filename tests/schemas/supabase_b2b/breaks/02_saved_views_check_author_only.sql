-- break: the merged policy of saved views checks the author of a new row and not its organization
-- object: public.saved_views
-- kind: breach
-- Three policies with the same condition: one will do.
drop policy "People can save views" on public.saved_views;
drop policy "People can edit their views" on public.saved_views;
drop policy "People can delete their views" on public.saved_views;
create policy "People manage their views"
  on public.saved_views for all to authenticated
  using (private.is_org_member(organization_id) and created_by = (select auth.uid()))
  with check (created_by = (select auth.uid()));
