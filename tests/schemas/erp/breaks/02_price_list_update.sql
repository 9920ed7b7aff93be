-- break: Price lists: the check of the update policy was rewritten for the statuses and lost the company
-- object: sales.price_list
-- kind: breach

SET ROLE erp_owner;

-- Price lists may be archived, but not brought back to draft.
ALTER POLICY price_list_update ON sales.price_list
  USING (company_id = core.current_company() AND core.has_role('owner', 'admin', 'accountant') AND status <> 'archived')
  WITH CHECK (status IN ('active', 'archived'));

RESET ROLE;
