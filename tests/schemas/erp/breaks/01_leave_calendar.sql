-- break: The team calendar's arm for approved absences is an OR beside the company condition
-- object: hr.leave_request
-- kind: leak

SET ROLE erp_owner;

-- Team calendar: everybody sees who is away, i.e. approved absences, whatever the line.
DROP POLICY leave_request_select ON hr.leave_request;
CREATE POLICY leave_request_select ON hr.leave_request FOR SELECT TO erp_app
  USING (company_id = core.current_company()
         AND (employee_id = hr.current_employee() OR hr.is_manager_of(employee_id) OR core.has_role('owner', 'hr_manager'))
         OR status = 'approved');

RESET ROLE;
