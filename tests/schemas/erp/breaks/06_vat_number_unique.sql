-- break: The VAT number of customers is unique over all companies
-- object: sales.customer
-- kind: reveal

SET ROLE erp_owner;

-- Duplicate debtors: a VAT number identifies one business.
DROP INDEX sales.customer_vat_number_uq;
CREATE UNIQUE INDEX customer_vat_number_uq ON sales.customer (vat_number) WHERE deleted_at IS NULL;

RESET ROLE;
