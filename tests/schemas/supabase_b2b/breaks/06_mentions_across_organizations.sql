-- break: the mention trigger finds people by handle in all organizations and notifies them in theirs
-- object: private.notify_mentions()
-- kind: breach
-- Handles were matched case-sensitively for people who joined before they were lowercased, and guests of two
-- workspaces missed mentions. Look the person up and notify them where they are.
create or replace function private.notify_mentions()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  mentioned record;
begin
  for mentioned in
    select m.organization_id, m.user_id
    from public.organization_members m
    where lower(m.handle) in (
        select distinct lower(hit[1]) from regexp_matches(new.body, '@([A-Za-z][A-Za-z0-9_]{1,30})', 'g') as hit
      )
  loop
    perform private.notify(
      mentioned.organization_id, mentioned.user_id, 'mentioned', 'You were mentioned', new.body,
      null, jsonb_build_object('comment_id', new.id)
    );
  end loop;
  return null;
end
$$;
