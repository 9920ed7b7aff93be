-- break: The partition of January was made by hand: granted, and without row security
-- object: finance.journal_entry_2027_01
-- kind: leak

SET ROLE erp_owner;

-- Posting of January 2027. The ledger export reads the partitions one by one.
CREATE TABLE finance.journal_entry_2027_01 PARTITION OF finance.journal_entry FOR VALUES FROM ('2027-01-01') TO ('2027-02-01');
GRANT SELECT ON finance.journal_entry_2027_01 TO erp_app, erp_readonly;

RESET ROLE;
