-- break: the policy of invoice_lines compares a column of invoices with itself, as invoice_lines has none of that name
-- object: public.invoice_lines
-- kind: leak
-- Same form as everywhere else: by organization.
drop policy "Billing people can read invoice lines" on public.invoice_lines;
create policy "Billing people can read invoice lines"
  on public.invoice_lines for select to authenticated
  using (
    exists (
      select 1 from public.invoices i
      where i.organization_id = organization_id and private.has_billing_access(organization_id)
    )
  );
